"""The reference world: its splits are disjoint, and every answer is correct."""

import json
import random
from itertools import islice
from pathlib import Path

import pytest

from layerlimits.reference.mixture import TASKS, Mixture
from layerlimits.reference.tokenizer import build
from layerlimits.reference.world import arithmetic, articles, brackets, functions, stories, things
from layerlimits.reference.world.problem import digest, draw, split_of
from layerlimits.tasks import SUITES, choose
from layerlimits.types import Response

SPLITS = ("train", "select", "calibrate", "evaluate")
MAKERS = {
    "arithmetic": arithmetic.three_ops,
    "family": arithmetic.family,
    "stories": stories.story,
    "functions": functions.function,
    "brackets": brackets.bracket_prefix,
    "articles": articles.article,
    "inference": things.inference,
}


@pytest.mark.parametrize("name", SUITES["reference"])
def test_splits_are_disjoint_and_repeatable(name: str) -> None:
    (task,) = choose([name])
    drawn = {split: task.samples(split, 300, None) for split in SPLITS}
    prompts = {split: {sample.prompt for sample in samples} for split, samples in drawn.items()}
    ids = [sample.id for samples in drawn.values() for sample in samples]
    assert len(ids) == len(set(ids))
    assert sum(map(len, prompts.values())) == len(set.union(*prompts.values()))
    assert len(drawn["evaluate"]) == 300
    assert all(len(drawn[split]) >= 32 for split in SPLITS)
    assert task.samples("evaluate", 20, None) == drawn["evaluate"][:20]
    assert all(sample.split == split for split, samples in drawn.items() for sample in samples)


@pytest.mark.parametrize("name", MAKERS)
def test_a_problem_has_one_answer_and_one_split_however_it_is_worded(name: str) -> None:
    rng = random.Random(7)
    problems = [MAKERS[name](rng) for _ in range(3000)]
    answers: dict[str, str] = {}
    for problem in problems:
        assert answers.setdefault(problem.prompt, problem.answer) == problem.answer
        assert problem.answer not in problem.wrong
    assert {split_of(problem.key) for problem in problems} == set(SPLITS)


def test_training_never_reads_a_problem_of_another_split_or_of_the_benchmark() -> None:
    held = {
        sample.meta["key"]
        for task in choose(["reference"])
        for split in ("select", "calibrate", "evaluate")
        for sample in task.samples(split, 300, None)
    }
    mixture, rng = Mixture(1, build()), random.Random(3)
    for name in TASKS:
        for _ in range(1500):
            problem = mixture.problem(rng, name)
            assert problem.key not in held
            assert digest(problem.key, 10) not in arithmetic.reserved()


def test_the_benchmark_items_are_in_no_generated_split(real_data: Path) -> None:
    lines = (real_data / "arithmetic" / "single_digit_three_ops.jsonl").read_text().splitlines()
    questions = [json.loads(line) for line in lines]
    assert len(questions) == 2000
    trees = []
    for item in questions:
        text = item["context"].partition("Q: What is ")[2].partition("?")[0]
        trees.append(arithmetic.parse(text))
        assert arithmetic.evaluate(trees[-1]) == int(item["completion"])
        assert arithmetic.write(trees[-1]) == text
    assert all(arithmetic.owner(arithmetic.canonical(tree)) is None for tree in trees)
    (task,) = choose(["arithmetic"])
    generated = {sample.prompt for split in SPLITS for sample in task.samples(split, 100_000, None)}
    asked = {sample.prompt for sample in task.samples("evaluate", 2000, real_data)}
    assert len(asked) > 1900
    assert not asked & generated


def test_one_key_for_every_grouping_of_the_same_sum() -> None:
    keys = {arithmetic.canonical(arithmetic.parse(text)) for text in ("2 + (3 + 4)", "(4 + 3) + 2", "(2 + 4) + 3")}
    assert len(keys) == 1
    apart = {arithmetic.canonical(arithmetic.parse(text)) for text in ("(2 - 3) + 4", "(3 - 2) + 4", "2 - (3 + 4)")}
    assert len(apart) == 3


def test_arithmetic_answers_are_right() -> None:
    for problem in islice(draw(arithmetic.family, "train", 5, arithmetic.owner), 500):
        text = problem.prompt.removeprefix("What is ").removesuffix("?")
        assert int(problem.answer) == eval(text)


def test_the_steps_of_a_story_hold_and_end_in_its_answer() -> None:
    import re

    for problem in islice(draw(stories.story, "train", 5), 300):
        steps = re.findall(r"(-?\d+) ([-+*/]) (\d+) = (-?\d+)", problem.answer)
        assert 2 <= len(steps) <= 5
        assert all(eval(f"{a} {sign} {b}") == int(c) for a, sign, b, c in steps)
        assert problem.answer.endswith(f"#### {steps[-1][3]}")


def test_closed_brackets_balance() -> None:
    from layerlimits.analysis.python_errors import balanced

    for problem in islice(draw(brackets.bracket_prefix, "train", 5), 300):
        prefix = problem.prompt.removeprefix("Close the brackets: ")
        assert not balanced(prefix)
        assert balanced(prefix + problem.answer)


def test_inference_has_exactly_one_right_choice() -> None:
    values = {thing.name: {thing.color, thing.home, thing.food} for thing in things.things()}
    of_kind = things.HOMES | things.FOODS | things.HIDING
    packed = {"hat": "hot", "coat": "cold", "boots": "wet", "lamp": "dark"}
    tools = {"basket": "plants", "net": "insects", "rod": "fish", "sickle": "grain"}
    meant = packed | tools
    rng = random.Random(11)
    for problem in (things.inference(rng) for _ in range(500)):
        (name,) = set(values) & set(problem.prompt.replace(".", "").split())
        options = (problem.answer, *problem.wrong)
        assert len(set(options)) == 4
        fitting = [kind for kind in options if values[name] & set(of_kind[meant.get(kind, kind)])]
        assert fitting == [problem.answer]


def test_what_is_inferred_belongs_to_one_split_whoever_asks() -> None:
    rng = random.Random(5)
    splits: dict[str, set[str]] = {}
    for problem in (things.inference(rng) for _ in range(3000)):
        asked = problem.prompt
        for name in stories.NAMES:
            asked = asked.replace(name, "-")
        splits.setdefault(asked, set()).add(things.owner(problem.key))
    assert max(map(len, splits.values())) == 1
    assert set.union(*splits.values()) == set(SPLITS)


@pytest.mark.parametrize("name", SUITES["reference"])
def test_the_target_scores_full_marks_and_another_items_target_does_not(name: str) -> None:
    (task,) = choose([name])
    samples = task.samples("evaluate", 60, None)
    for sample, other in zip(samples, samples[1:] + samples[:1], strict=True):
        if task.kind == "choice":
            right = tuple(float(choice == sample.target) for choice in sample.choices)
            assert sample.choices.count(sample.target) == 1
            assert task.score(sample, Response("", (), "likelihood", right)).value == 1.0
            assert task.score(sample, Response("", (), "likelihood", tuple(-value for value in right))).value == 0.0
            continue
        assert task.score(sample, Response(sample.target, (1,), "stop")).value == pytest.approx(1.0)
        same_number = other.target.split()[-1] == sample.target.split()[-1]
        if not same_number and name != "functions":
            assert task.score(sample, Response(other.target, (1,), "stop")).value < 1.0


def test_the_right_choice_stands_at_every_place_about_equally_often() -> None:
    for name in ("facts_choice", "inference_choice"):
        (task,) = choose([name])
        samples = task.samples("evaluate", 300, None)
        places = [sample.choices.index(sample.target) for sample in samples]
        assert all(45 <= places.count(place) <= 105 for place in range(4))
