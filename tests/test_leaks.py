"""No item that is evaluated chooses layers, calibrates, trains or serves as an example, however it is written."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from choice_rows import choice_folder
from harness_tasks import write_rows
from recovery_models import listed, prompts

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.leaks import EvaluatedQuestions, check_leaks, normalized, question_hash
from layerlimits.reference.tokenizer import build
from layerlimits.study.config import study_config
from layerlimits.study.preflight import check_study
from layerlimits.tasks import SUITES, choose
from layerlimits.types import Sample

Refused = Callable[..., str]

LONG = "Janet’s 16 ducks lay 1,200 eggs a year, of which she sells three quarters. How many eggs does she keep?"
SHORT = "What is 65360 plus 16204?"


def leaks(text: str, *questions: str) -> bool:
    return EvaluatedQuestions(questions).first_in(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        LONG,
        LONG.upper(),
        LONG.replace(" ", "\n\t  "),
        LONG.replace("’", "'").replace(",", "").rstrip("?"),
        LONG.replace("1,200", "1200"),
        LONG.replace("eggs", "ｅｇｇｓ").replace("a year", "a\u00a0year").replace("Janet", "Ja\u200bnet"),
        f"Question: {LONG}\nAnswer: 300",
        f"Here is one that I like. {LONG.lower()} She keeps 300 of them.",
        f"word {LONG.rstrip('?')} word",
        "filler words before it. " * 200 + LONG + " filler words after it" * 200,
    ],
)
def test_a_long_question_is_seen_wherever_it_stands_and_however_it_is_written(text: str) -> None:
    assert leaks(text, SHORT, LONG)
    assert not leaks(text.replace("16", "17"), SHORT, LONG)


@pytest.mark.parametrize(
    ("text", "held"),
    [
        (SHORT, True),
        (f"  {SHORT.upper()} ", True),
        (f"{SHORT}\n81564", True),
        (f"Question: {SHORT}\nAnswer: 81564", True),
        (f"{SHORT} 81564", True),
        (f"They asked him {SHORT} and he left.", False),
        ("What is 65360 plus 162?", False),
    ],
)
def test_a_short_question_is_seen_where_it_is_a_line_or_begins_one(text: str, held: bool) -> None:
    assert leaks(text, SHORT) == held


@pytest.mark.parametrize("question", ["1 + 2", "boil water", "dresser", "Which of these is true?", "5"])
def test_very_short_questions_raise_no_false_alarm_in_running_text(question: str) -> None:
    sentence = "To boil water, put 1 + 2 = 3 litres on the stove. Which of these is true? 5 of them, by the dresser."
    assert not leaks(sentence, question)
    assert leaks(f"{sentence}\n{question}\n", question)
    assert leaks(question.upper(), question)


def test_a_longer_list_or_expression_is_another_question() -> None:
    steps = "Write down what this function of one variable does: add 2, then negate it"
    assert not leaks(f"{steps}, then add 3.", f"{steps}.")
    assert leaks(f"{steps}. Done.", f"{steps}.")
    compute = "Tell me what you get when you compute 12 + 3"
    assert not leaks(f"{compute} * 5", compute)
    assert not leaks(f"{compute}0", compute)
    assert leaks(f"{compute} = 15", compute)
    assert leaks(f"{compute}?\n15", compute)


def test_what_carries_the_meaning_of_arithmetic_is_kept() -> None:
    different = [
        "(4 * 4) * 1", "4 * (4 * 1)", "4 * 4 * 1", "-3", "3", "3!", "3.5", "35", "3 5", "([", "[(", "([)", "{[",
        "a < b",
        "a > b", "f(x)", "f'(x)", "x - y", "x + y", "xy", "7 % 3", "7 3", "3:1", "31",
    ]  # fmt: skip
    assert len({question_hash(question) for question in different}) == len(different)
    same = ["It's well-known, isn't it?", "its WELLKNOWN isnt it", "“It’s well‐known”, isn’t it!"]
    assert len({question_hash(question) for question in same}) == 1
    assert normalized("5 − 3 × 2") == normalized("5-3*2") == "5 - 3 * 2"


@pytest.mark.parametrize("name", SUITES["reference"])
def test_distinct_items_of_bundled_tasks_stay_distinct_and_no_split_of_them_is_refused(name: str) -> None:
    (task,) = choose([name])
    evaluated = task.samples("evaluate", 600, None)
    questions = {sample.question for sample in evaluated}
    for split in ("select", "calibrate", "train"):
        others = [sample.question for sample in task.samples(split, 600, None)]
        check_leaks(f"{split} items", others, evaluated)
        questions |= set(others)
    assert len({question_hash(question) for question in questions}) == len(questions)
    with pytest.raises(UserError, match=r"1 of 2 texts contain evaluated items, such as"):
        check_leaks("texts", [others[0], evaluated[7].question], evaluated)


def test_the_message_counts_texts_and_quotes_a_question() -> None:
    evaluated = [Sample("How old is she?", "", "evaluate", choices=("1", "2")), Sample(LONG, "", "evaluate")]
    check_leaks("calibration texts", ["How old is he?", "a", ""], evaluated)
    check_leaks("calibration texts", [], evaluated)
    with pytest.raises(UserError) as caught:
        check_leaks("calibration texts", ["how old is SHE", "b", f"x {LONG}"], evaluated)
    assert "2 of 3 calibration texts contain evaluated items, such as 'How old is she?'" in str(caught.value)


def test_the_question_is_compared_without_the_instructions_of_its_prompt() -> None:
    sample = Sample(f"{LONG}\n\nReason step by step.", "300", "evaluate", meta={"question": LONG})
    with pytest.raises(UserError, match="1 of 1"):
        check_leaks("texts", [f"{LONG} 300"], [replace(sample, prompt="A. B. C.", origin=sample)])


def test_time_grows_with_the_texts_and_not_with_the_questions() -> None:
    words = [f"w{number}" for number in range(5000)]
    texts = [" ".join(words[(7 * start + step) % 5000] for step in range(200)) for start in range(300)]

    def seconds(count: int) -> float:
        questions = EvaluatedQuestions(
            f"{' '.join(words[start % 4000 : start % 4000 + 12])} z{start}" for start in range(count)
        )
        began = time.process_time()
        assert not any(questions.first_in(text) for text in texts)
        return time.process_time() - began

    # A comparison of every text with every question would take 100 times as long.
    assert min(seconds(10_000) for _ in range(3)) < 5 * min(seconds(100) for _ in range(3)) + 0.05


def gsm8k(data: Path, questions: list[str], train: list[str]) -> Path:
    rows = [{"question": question, "answer": f"It is so.\n#### {number}"} for number, question in enumerate(questions)]
    write_rows(data / "gsm8k" / "test.jsonl", rows)
    write_rows(data / "gsm8k" / "train.jsonl", [{"question": text, "answer": "#### 1"} for text in train])
    return data


def stories(count: int, who: str) -> list[str]:
    return [f"{who} has {n} apples and buys {n + 3} more of them. How many apples are there now?" for n in range(count)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty evaluated gsm8k items, others to train on, and an arc_easy without training items."""
    gsm8k(tmp_path / "data", stories(20, "Ann"), stories(60, "Bob"))
    return choice_folder(tmp_path / "data", "arc_easy", items=40, examples=0)


def written(file: Path, form: str, data: Path) -> Path:
    """The evaluated gsm8k items as calibration text, with three others."""
    rows = [json.loads(line) for line in (data / "gsm8k" / "test.jsonl").read_text().splitlines()]
    items: list[dict[str, Any]] = [{"text": text} for text in ("one", "two", "three")]
    for row in rows:
        pair = {"prompt": row["question"].upper(), "response": row["answer"]}
        items.append(pair if form == "pair" else {"text": f"{row['question']} {row['answer']}"})
    file.write_text("".join(json.dumps(item) + "\n" for item in items))
    return file


@pytest.mark.parametrize("form", ["pair", "text"])
def test_calibration_texts_that_hold_evaluated_items_are_refused_by_rank_and_prune(
    form: str, refused: Refused, tiny: Path, data: Path, tmp_path: Path
) -> None:
    file = written(tmp_path / "text.jsonl", form, data)
    options = ["--method", "block_influence", "--tasks", "gsm8k", "--data-dir", data, "--calibration", file]
    for said in (
        refused("rank", tiny, *options),
        refused("prune", tiny, "--layers", 2, *options, "--out", tmp_path / "out"),
        refused("prune", tiny, "--remove", 2, "--replacement", "linear", *options[2:], "--out", tmp_path / "out"),
    ):
        assert "20 of 23 calibration texts contain evaluated items, such as 'Ann has 0 apples" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["pair", "text"])
def test_a_study_refuses_such_calibration_texts(form: str, tiny: Path, data: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "text.jsonl", form, data)
    settings = {"model": str(tiny), "tasks": ("gsm8k",), "data_dir": data, "recovery": {"kinds": ()}}
    check_study(study_config("quick", **settings, calibration=str(file), calibration_items=3), tmp_path / "run")
    with pytest.raises(UserError, match="20 of 23 calibration texts contain evaluated items"):
        check_study(study_config("quick", **settings, calibration=str(file)), tmp_path / "run")


def test_a_study_refuses_to_train_on_what_it_evaluates(tiny: Path, data: Path, tmp_path: Path) -> None:
    settings = {"model": str(tiny), "tasks": ("gsm8k",), "data_dir": data}
    check_study(study_config("quick", **settings), tmp_path / "run")
    gsm8k(data, stories(20, "Ann"), [text.replace(".", " ,").upper() for text in stories(60, "Ann")])
    with pytest.raises(UserError, match=r"of \d+ training prompts contain evaluated items"):
        check_study(study_config("quick", **settings), tmp_path / "run")


def test_a_study_refuses_to_select_by_what_it_evaluates(tiny: Path, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from layerlimits.tasks.gsm8k import gsm8k\n"
        "def samples(split, limit, data_dir):\n"
        "    items = gsm8k.samples('evaluate', 5, data_dir)\n"
        "    return [replace(item, prompt=item.question.lower(), meta={}) for item in items]\n"
        "mine = replace(gsm8k, name='mine', samples=samples)\n"
    )
    settings = {"model": str(tiny), "tasks": ("gsm8k",), "data_dir": data, "select_tasks": (str(file),)}
    with pytest.raises(UserError, match="5 of 5 selection items contain evaluated items"):
        check_study(study_config("quick", **settings, recovery={"kinds": ()}), tmp_path / "run")


def test_a_study_refuses_to_show_what_it_evaluates_as_examples(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from layerlimits.tasks.facts import facts\n"
        "def samples(split, limit, data_dir):\n"
        "    return facts.samples('evaluate', limit, data_dir)\n"
        "mine = replace(facts, name='mine', samples=samples)\n"
    )
    settings = {"model": str(tiny), "tasks": (str(file),), "shots": 2, "recovery": {"kinds": ()}}
    with pytest.raises(UserError, match="2 of 2 examples contain evaluated items"):
        check_study(study_config("quick", **settings), tmp_path / "run")


def test_choices_asked_openly_are_the_same_items(data: Path) -> None:
    """arc_easy trained in plain text and evaluated freely: other prompts, the same questions."""
    plain, free = choose(["arc_easy"]), choose(["arc_easy@free"])
    evaluated = free[0].samples("evaluate", 100, data)
    asked = plain[0].samples("evaluate", 100, data)
    assert not {sample.prompt for sample in evaluated} & {sample.prompt for sample in asked}
    with pytest.raises(UserError, match=f"{len(asked)} of {len(asked)} training prompts contain"):
        check_leaks("training prompts", [sample.question for sample in asked], evaluated)


def test_recover_compares_all_items_of_a_benchmark() -> None:
    from layerlimits.evaluation.leaks import items_to_compare

    many = listed("many", prompts("a"), tuple(Sample(f"question {n}", "", "evaluate") for n in range(3000)))
    assert len(items_to_compare([many], None)) == 3000
    bundled = items_to_compare(choose(["word_problems"], shots=1), None)
    assert len(bundled) == 1000


def test_calibration_texts_are_read_as_they_are_written(tmp_path: Path) -> None:
    tokenizer = build()
    file = tmp_path / "text.jsonl"
    file.write_text('\ufeff{"text": "a\u2028b"}\n{"prompt": "q", "response": "r"}\n', encoding="utf-8")
    assert calibration(tokenizer, 5, file).written == ("a\u2028b", "q\nr")
    # What is no JSON object is refused by the reader of JSON lines: tests/test_jsonl.py.
    for line in ('{"text": 123}', '{"prompt": "q", "response": null}', '{"other": "q"}'):
        file.write_text(f'{{"text": "a"}}\n{line}\n')
        with pytest.raises(UserError, match="line 2: not a calibration item"):
            calibration(tokenizer, 5, file)
