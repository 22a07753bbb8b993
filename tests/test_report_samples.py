"""The report's cards of answers: a verdict or a graded score, and the first character that differs."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import TEXT, finished_study

from layerlimits import open_run
from layerlimits.report.html import _marked, render
from layerlimits.results.document import StudyResults
from layerlimits.results.samples import AnsweredItem, ModelAnswer, _largest_losses
from layerlimits.types import Outcome, Response, Verdict


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> StudyResults:
    folder = tmp_path_factory.mktemp("run")
    finished_study(folder)
    return open_run(folder)


def _answer(text: str, differs_at: int | None = None, outcome: Outcome = "correct", value: float = 1.0) -> ModelAnswer:
    return ModelAnswer("m", text, outcome, value, differs_at)


@pytest.mark.parametrize(
    ("text", "place", "marked"),
    [
        ("so 12", None, "so 12"),
        ("so 12", 4, "so 1<mark>2</mark>"),
        ("so 12", 0, "<mark>s</mark>o 12"),
        ("so 12", 5, "so 12<mark>\u25a1</mark>"),
        ("a\nb", 1, "a<mark>\u21b5\n</mark>b"),
        ("a b", 1, "a<mark>\u2423</mark>b"),
        ("a<b>", 1, "a<mark>&lt;</mark>b&gt;"),
        ("", 0, "<mark>\u25a1</mark>"),
    ],
)
def test_the_first_difference_is_marked(text: str, place: int | None, marked: str) -> None:
    assert _marked(_answer(text, place)) == marked


@pytest.mark.parametrize(("graded", "badge"), [(True, "0.42"), (False, "correct")])
def test_a_graded_answer_shows_its_score_and_another_one_its_verdict(
    graded: bool, badge: str, results: StudyResults
) -> None:
    task = replace(results.tasks[0], graded=graded)
    item = AnsweredItem(task.name, "question", "reference", (_answer("text", None, "correct", 0.42),))
    page = render(replace(results, tasks=(task,), samples=(item,)))
    card = page[page.index('id="answers"') : page.index('id="reproduce"')]
    assert f">{badge}</span>m</p>" in card
    assert ("0.42" in card) == graded
    assert ('class="badge correct"' in card) != graded


def _column(values: list[float], outcomes: str = "") -> list[tuple[Response, Verdict]]:
    marks = outcomes or "".join("1" if value == 1 else "0" for value in values)
    return [
        (Response("", (), "stop"), Verdict("correct" if mark == "1" else "wrong", value))
        for value, mark in zip(values, marks, strict=True)
    ]


@pytest.mark.parametrize(
    ("base", "pruned", "order"),
    [
        ([1, 1, 0, 1], [1, 0, 0, 1], [1, 0, 3]),
        ([1, 1], [1, 1], [0, 1]),
        ([0, 0], [1, 0], []),
        ([0.5, 0.9, 0.1, 0.4], [0.4, 0.1, 0.1, 0.6], [1, 0, 2, 3]),
    ],
)
def test_items_with_the_largest_losses_come_first(base: list[float], pruned: list[float], order: list[int]) -> None:
    assert _largest_losses(_column(base), _column(pruned)) == order


@pytest.mark.parametrize(("text", "place"), [("It is 3 + 5 = 8.", 10), (TEXT, None)])
def test_a_stored_answer_says_where_it_differs(text: str, place: int | None, tmp_path: Path) -> None:
    finished_study(tmp_path, text)
    answers = open_run(tmp_path).samples[0].answers
    assert [answer.differs_at for answer in answers] == [None, None, place]
