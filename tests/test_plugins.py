"""Every plug-in keeps its contract; a file of your own is one too."""

import importlib
import inspect
from pathlib import Path

import pytest

from layerlimits.calibration import calibration
from layerlimits.diagnostics import Answered, Diagnostic
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.methods import Context, described
from layerlimits.models.load import Loaded
from layerlimits.plugins import find, names
from layerlimits.store import Store
from layerlimits.tasks import SUITES, choose
from layerlimits.types import Ranking, Response, Task, Verdict


@pytest.fixture
def context(loaded: Loaded, tmp_path: Path) -> Context:
    facts = tuple(choose(["facts_choice"]))
    text = calibration(loaded.tokenizer, 8)
    return Context(Evaluator(loaded, Store(tmp_path)), 2, text, facts, items=24, protected=(1,))


@pytest.mark.parametrize("name", names("methods"))
def test_methods_rank_every_unprotected_layer_they_were_asked_for(name: str, context: Context) -> None:
    method = find("methods", name)
    ranking = method(context)
    assert isinstance(ranking, Ranking)
    assert ranking.method == name
    assert len(ranking.scores) == 6
    assert 1 not in ranking.order
    assert ranking.scores[1] is None
    assert len(set(ranking.order)) == len(ranking.order) >= context.rounds
    assert set(ranking.order) <= set(range(6))
    assert method(context) == ranking


@pytest.mark.parametrize("name", names("methods"))
def test_methods_say_where_they_come_from_and_what_they_cost(name: str) -> None:
    method = find("methods", name)
    assert described(method, "Source")
    assert described(method, "Cost")


@pytest.mark.parametrize("name", names("tasks"))
def test_tasks_keep_their_contract(name: str) -> None:
    task = find("tasks", name)
    assert isinstance(task, Task)
    assert task.name == name
    assert task.version >= 1
    assert task.summary
    assert (task.max_new_tokens > 0) == (task.kind == "generation")
    assert (task.chance > 0) == (task.kind == "choice")
    samples = task.samples("evaluate", 3, None)
    assert len(samples) == 3
    empty = Response("", (), "stop") if task.kind == "generation" else Response("", (), "likelihood", (0.0,) * 4)
    assert all(isinstance(task.score(sample, empty), Verdict) for sample in samples)


@pytest.mark.parametrize("name", names("diagnostics"))
def test_diagnostics_keep_their_contract(name: str) -> None:
    diagnostic = find("diagnostics", name)
    assert isinstance(diagnostic, Diagnostic)
    assert diagnostic.name == name
    measured = set()
    for task in choose(diagnostic.tasks or ["word_problems"]):
        for sample in task.samples("evaluate", 5, None):
            for text in (sample.target, "", "([{", "go go go go"):
                response = Response(text, tuple(range(len(text))), "stop")
                found = diagnostic.measure(
                    Answered(sample.prompt, sample.target, response, task.score(sample, response))
                )
                assert all(isinstance(value, float) for value in found.values())
                measured |= set(found)
    assert measured


@pytest.mark.parametrize("folder", ["methods", "tasks", "diagnostics", "engines"])
def test_every_file_exports_an_object_of_its_name(folder: str) -> None:
    for name in names(folder):
        assert hasattr(importlib.import_module(f"layerlimits.{folder}.{name}"), name)


def test_suites_name_existing_tasks() -> None:
    for suite, members in SUITES.items():
        assert [task.name for task in choose([suite])] == list(members)
    assert [task.name for task in choose(["facts", "reference", "facts"])].count("facts") == 1


def test_a_file_of_your_own_is_a_method(tmp_path: Path, context: Context) -> None:
    file = tmp_path / "first_half.py"
    file.write_text(
        "from layerlimits.methods import by_score\n"
        "def first_half(context):\n"
        "    '''First layers first.'''\n"
        "    return by_score('first_half', range(context.depth), context.protected or ())\n"
    )
    ranking = find("methods", str(file))(context)
    assert ranking.order == (0, 2, 3, 4, 5)


@pytest.mark.parametrize(
    ("name", "words"),
    [("task_scor", "did you mean task_score"), ("zzz", "use one of"), ("./gone.py", "no such file")],
)
def test_an_unknown_plug_in_is_named_with_its_likely_meaning(name: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        find("methods", name)
    assert words in str(error.value)


def test_a_file_that_exports_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("x = 1\n")
    with pytest.raises(UserError, match=r"exports nothing called mine"):
        find("methods", str(tmp_path / "mine.py"))


def test_signatures_take_a_context_first() -> None:
    for name in names("methods"):
        assert next(iter(inspect.signature(find("methods", name)).parameters)) == "context"
