"""The scorers against answers of trained models that one reader labelled; see answer_rates.py. About 20 s."""

import re
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import pytest
from answer_rates import ROWS, SCORERS, answered, cell, earlier, errors, flexible, response, shapes, table
from programs import need_sandbox

from layerlimits.scoring import mathematics, quantities

DOCS = Path(__file__).resolve().parents[1] / "docs" / "evaluation.md"
TASKS = ("gsm8k", "math500", "humanevalplus", "mbppplus", "gpt3_arithmetic", "xsum")
MODELS = ("qwen2.5-coder-0.5b-instruct", "smollm2-135m-instruct")
# The longest run of words that an answer may share with its item.
LONGEST_QUOTE = 25


def test_there_are_answers_of_every_kind() -> None:
    assert len(ROWS) >= 300
    assert len({(row["model"], tuple(row["removed"]), row["task"], row["text"]) for row in ROWS}) == len(ROWS)
    for model in MODELS:
        for pruned in (False, True):
            assert len([row for row in ROWS if row["model"] == model and bool(row["removed"]) is pruned]) >= 20
    for task in TASKS:
        assert len([row for row in ROWS if row["task"] == task]) >= 10
    kinds = {"summary", "more", "none"}, {"right", "wrong", "none", "doubtful"}
    assert all(row["label"] in kinds[row["task"] != "xsum"] for row in ROWS)


@pytest.mark.parametrize("task", ["gsm8k", "gpt3_arithmetic", "math500"])
def test_the_answer_is_the_one_that_the_reader_saw(task: str) -> None:
    """Without the items: what a reader took the text to state, right or wrong, is what is compared."""
    judge: Any = mathematics.judge if task == "math500" else quantities.judge
    rows = [row for row in ROWS if row["task"] == task and "answer" in row]
    outcomes = [(row["finish"], judge(response(row), row["answer"]).outcome) for row in rows]
    finished = [outcome for finish, outcome in outcomes if finish == "stop"]
    assert len(finished) >= 20
    assert finished.count("correct") >= 0.98 * len(finished)
    # An unfinished text counts only where it states an answer formally.
    assert {outcome for finish, outcome in outcomes if finish == "length"} <= {"correct", "truncated"}


@pytest.mark.parametrize("task", SCORERS)
def test_our_errors_are_those_of_the_documentation(task: str, real_data: Path) -> None:
    need_sandbox()
    stated = _documented(task, "ours")
    assert cell(flexible, answered(ROWS, task, real_data)) == stated


def test_answers_that_were_labelled_earlier(real_data: Path) -> None:
    assert errors(flexible, answered(earlier(), "gsm8k", real_data)) == ([], [])


def _documented(task: str, scorer: str) -> str:
    """Errors on real answers, in the table of the documentation."""
    rows = DOCS.read_text().partition(f"| {task} | | ")[2]
    return re.split(r" *\| *", rows.partition(f"| | {scorer} | ")[2])[0]


@pytest.mark.slow
def test_the_tables_are_those_that_are_printed(real_data: Path) -> None:
    """Extractions of lm-eval and math-verify included."""
    need_sandbox()
    text = DOCS.read_text()
    assert table(real_data) in text
    assert shapes() in text


@pytest.mark.parametrize("task", TASKS)
def test_answers_quote_no_benchmark(task: str, real_data: Path) -> None:
    for sample, row in answered(ROWS, task, real_data):
        quoted = _common(row["text"], sample.question)
        assert quoted < LONGEST_QUOTE, row


def _common(text: str, question: str) -> int:
    """Length of the longest run of words that two texts share."""
    return SequenceMatcher(None, _words(text), _words(question), autojunk=False).find_longest_match().size


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
