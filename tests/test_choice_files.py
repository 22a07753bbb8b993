"""The files of choice benchmarks: which split an item is in, where examples come from, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from choice_rows import TASKS, asked_with, choice_folder, rows
from harness_tasks import Row, asked_alone, harness_logs, pairs, write_rows

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.plugins import find
from layerlimits.tasks import _choice_data, _harness
from layerlimits.tasks._files import Part

SUBJECTS = ("anatomy", "virology")
SPLITS = ("train", "select", "calibrate", "evaluate")


@pytest.mark.parametrize("name", TASKS)
def test_what_people_read_is_the_question_its_options_and_the_right_one(name: str, tmp_path: Path) -> None:
    item = find("tasks", name).samples("evaluate", 1, choice_folder(tmp_path, name, 3, 3, start=1))[0]
    question, options, right = {
        "piqa": ("carry 1 jars", ("use a brick", "an glass"), "an glass"),
        "winogrande": ("The brick hit the glass, so the _ was moved 1 times.", ("brick", "glass"), "glass"),
        "hellaswag": (
            "Moving: A man holds 1 jars. The man",
            ("takes the brick.", "takes the cloud.", "takes the drum.", "takes the eagle."),
            "takes the cloud.",
        ),
        "mmlu": (" Which is 1? ", ("brick", "cloud", "drum", "eagle"), "cloud"),
    }.get(name, ("Which thing has number 1?", ("brick 1", "cloud 1", "drum 1"), "cloud 1"))
    assert (item.prompt, item.choices, item.target) == (question, options, right)
    assert item.meta.get("set") == ("anatomy" if name == "mmlu" else None)


def test_test_items_evaluate_as_a_whole_where_there_are_training_items(tmp_path: Path) -> None:
    data = choice_folder(tmp_path, "arc_easy", 30, 400)
    # A test item among the training items.
    train = data / "arc_easy" / "train.jsonl"
    write_rows(train, [*rows("arc_easy", range(7, 8)), *rows("arc_easy", range(500, 900))])
    task = find("tasks", "arc_easy")
    samples = {split: task.samples(split, 10**6, data) for split in SPLITS}
    assert [sample.prompt for sample in samples["evaluate"]] == [row["question"] for row in rows("arc_easy", range(30))]
    assert task.samples.whole(data) == samples["evaluate"]
    assert all(sample.split == split for split in SPLITS for sample in samples[split])
    ids = [sample.id for split in SPLITS for sample in samples[split]]
    assert len(ids) == len(set(ids)) == 430
    shares = {split: len(samples[split]) / 400 for split in SPLITS[:3]}
    assert shares == pytest.approx({"train": 0.87, "select": 0.08, "calibrate": 0.05}, abs=0.05)


@pytest.mark.parametrize(("name", "question"), [("piqa", "goal"), ("mmlu", "question")])
def test_every_split_is_cut_from_the_test_items_where_there_are_no_others(
    name: str, question: str, loaded: Loaded, tmp_path: Path
) -> None:
    data = choice_folder(tmp_path / "data", name, 400, 0)
    splits = {split: find("tasks", name).samples(split, 10**6, data) for split in SPLITS}
    assert len({sample.id for split in SPLITS for sample in splits[split]}) == 400
    assert [len(splits[split]) / 400 for split in SPLITS] == pytest.approx([0.15, 0.1, 0.05, 0.7], abs=0.05)
    # Examples are of the split that trains, as the command takes them from it for these items.
    samples = asked_with(name, 3).samples("evaluate", 9, data)
    asked = {sample.prompt for sample in splits["evaluate"][:9]}
    test = [row for row in rows(name, range(400)) if row[question] in asked]
    examples = [row for row in rows(name, range(400)) if row[question] in {item.prompt for item in splits["train"]}]
    theirs = harness_logs(tmp_path / "theirs", name, asked_alone(loaded.tokenizer), test, examples, num_fewshot=3)
    for part, log in theirs.items():
        assert [item.pairs for item in samples if item.meta.get("set", "") == part] == pairs(log)


@pytest.mark.parametrize("name", ["winogrande", "mmlu"])
def test_the_hub_s_rows_are_read_as_a_folder_s(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = choice_folder(tmp_path, name, 40, 90)
    asked = find("tasks", name).samples.benchmark
    starts = {asked.split: range(40), asked.examples: range(500, 590), asked.train: range(1000, 1090)}
    if asked.train == asked.examples:
        starts[asked.train] = range(500, 590)
    read = []

    def from_hub(hub: str, part: Part) -> tuple[str, list[Row]]:
        read.append((hub, part.config, part.split))
        return hub, rows(name, starts[part.split or ""])

    monkeypatch.setattr(_choice_data, "from_hub", from_hub)
    task = asked_with(name, 2)
    try:
        for split in ("evaluate", "select"):
            theirs, mine = task.samples(split, 100, None), task.samples(split, 100, data)
            assert theirs
            assert [(sample.id, sample.pairs, sample.target) for sample in theirs] == [
                (sample.id, sample.pairs, sample.target) for sample in mine
            ]
    finally:
        # What was kept is not the hub's.
        _choice_data._made.cache_clear()
        _harness._first.cache_clear()
    assert set(read) == {(asked.hub, asked.config, split) for split in starts}


def test_parts_come_in_turn_and_whole_in_the_order_of_the_file(tmp_path: Path) -> None:
    data = choice_folder(tmp_path, "mmlu", 40)
    task = find("tasks", "mmlu")
    assert [sample.meta["set"] for sample in task.samples("evaluate", 6, data)] == [*SUBJECTS] * 3
    whole = task.samples.whole(data)
    assert [sample.prompt for sample in whole] == [row["question"] for row in rows("mmlu", range(40))]


def test_an_item_that_comes_twice_counts_twice(loaded: Loaded, tmp_path: Path) -> None:
    data = choice_folder(tmp_path / "data", "arc_easy", 4)
    write_rows(data / "arc_easy" / "test.jsonl", rows("arc_easy", range(4)) + rows("arc_easy", range(1, 3)))
    task = asked_with("arc_easy", 2)
    samples = task.samples("evaluate", 100, data)
    assert len({sample.id for sample in samples}) == len(samples) == 6
    assert samples[1].pairs != samples[4].pairs
    evaluator = Evaluator(loaded, Store(tmp_path / "run"))
    assert [len(row) for row in evaluator.verdicts([()], task, samples)] == [6]


def _changed(name: str, index: int, **columns: Any) -> list[Row | str]:
    made: list[Row | str] = [*rows(name, range(5))]
    made[index] = rows(name, range(index, index + 1))[0] | columns
    return made


WRONG: dict[str, tuple[str, list[Row | str], str]] = {
    "empty": ("piqa", [], r"piqa/validation.jsonl is empty"),
    "no json": ("piqa", ["{}", "{"], r"line 2 is not valid JSON"),
    "no column": ("piqa", [{"goal": "x"}], r"item 1 has no column sol1, sol2, label: it has goal"),
    "type": ("piqa", _changed("piqa", 2, goal=3), r"item 3: goal has type int, expected str"),
    "truth": ("piqa", _changed("piqa", 2, label=True), r"item 3: label has type bool, expected int"),
    "label": ("piqa", _changed("piqa", 1, label=-1), r"item 2: label -1 is not one of 0, 1"),
    "key": ("arc_easy", _changed("arc_easy", 3, answerKey="E"), r"item 4: answerKey 'E' is not one of A, B, C"),
    "obqa": ("openbookqa", _changed("openbookqa", 0, answerKey=" E"), r"item 1: answerKey 'E' is not one of A, B, C"),
    "lists": (
        "arc_challenge",
        _changed("arc_challenge", 0, choices={"text": ["a"]}),
        r"item 1: choices does not contain",
    ),
    "lengths": (
        "arc_easy",
        _changed("arc_easy", 0, choices={"text": ["a"], "label": ["A", "B"]}),
        r"item 1: choices does not contain lists text and label of equal length",
    ),
    "option": (
        "arc_easy",
        _changed("arc_easy", 1, choices={"text": [1], "label": ["A"]}),
        r"item 2: option 1 of choices has type int, expected str",
    ),
    "blank": ("winogrande", _changed("winogrande", 4, sentence="No blank."), r"item 5: the sentence has no blank '_'"),
    "answer": ("winogrande", _changed("winogrande", 4, answer=""), r"item 5: answer '' is not one of 1, 2"),
    "hidden": ("hellaswag", _changed("hellaswag", 0, label=""), r"item 1: label '' is not one of 0, 1, 2, 3"),
    "ending": (
        "hellaswag",
        _changed("hellaswag", 0, endings=[None]),
        r"item 1: option 1 of endings has type NoneType",
    ),
    "three": ("mmlu", _changed("mmlu", 0, choices=["a", "b", "c"]), r"item 1: it has 3 choices, expected 4"),
    "number": ("mmlu", _changed("mmlu", 0, answer=4), r"item 1: answer 4 is not one of 0, 1, 2, 3"),
    "subject": ("mmlu", _changed("mmlu", 0, subject="anatomi"), r"unknown subject 'anatomi'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_file_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    name, given, words = WRONG[case]
    task = find("tasks", name)
    write_rows(tmp_path / name / f"{task.samples.benchmark.split}.jsonl", given)
    with pytest.raises(UserError, match=words):
        task.samples("evaluate", 10, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such folder: .*piqa"):
        find("tasks", "piqa").samples("evaluate", 10, tmp_path)


@pytest.mark.parametrize(("name", "most"), [("arc_easy", 4), ("piqa", 3), ("mmlu", 2)])
def test_more_examples_than_there_are_is_refused_with_both_numbers(name: str, most: int, tmp_path: Path) -> None:
    data = choice_folder(tmp_path, name, 12, 4)
    assert asked_with(name, most).samples("evaluate", 10, data)
    part = "anatomy" if name == "mmlu" else name
    with pytest.raises(UserError, match=rf"{most + 1} examples requested, but {part} has {most}"):
        asked_with(name, most + 1).samples("evaluate", 10, data)


def test_no_item_is_its_own_example(tmp_path: Path) -> None:
    task = asked_with("arc_easy", 2)
    cut, apart = (
        choice_folder(tmp_path / "cut", "arc_easy", 60, 0),
        choice_folder(tmp_path / "apart", "arc_easy", 9, 400),
    )
    for ask in (
        lambda: task.samples("train", 10, cut),
        lambda: task.samples("train", 10, apart),
        lambda: find("tasks", "arc_easy").variant(2, False).samples.whole(cut),
    ):
        with pytest.raises(UserError, match=r"come from its train split"):
            ask()
    train = [sample.prompt for sample in find("tasks", "arc_easy").samples("train", 1000, apart)]
    samples = task.samples("select", 50, apart)
    assert len(samples) > 10
    for sample in samples:
        shown = sample.pairs[0][0]
        assert isinstance(shown, str)
        assert shown.count(sample.prompt) == 1
        assert sum(f"Question: {prompt}\n" in shown for prompt in train) == 2
