"""The method context: methods use only its public members, and progress adds up to 1."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest

import layerlimits.methods
from layerlimits.evaluation.calibration import calibration
from layerlimits.methods import Context, rank
from layerlimits.models.load import Loaded
from layerlimits.plugins import find, names
from layerlimits.tasks import choose
from layerlimits.types import Verdict

FOLDER = Path(inspect.getfile(layerlimits.methods)).parent
# What a method must not reach through.
HIDDEN = {"evaluator", "_evaluator", "loaded", "store"}
# Methods that look at nothing have no work to report.
IDLE = ("random", "reverse")


def names_in(source: str) -> set[str]:
    """Every name, attribute, argument and keyword in a file."""
    named: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        for field in ("id", "attr", "arg", "name"):
            value = getattr(node, field, None)
            named |= {value} if isinstance(value, str) else set()
    return named


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.name)
def test_only_the_context_knows_what_is_behind_it(file: Path) -> None:
    hidden = names_in(file.read_text()) & HIDDEN
    assert hidden == ({"_evaluator", "loaded", "store"} if file.name == "_context.py" else set())


def test_the_evaluator_is_no_public_member(context: Context) -> None:
    assert not {name for name in dir(context) if not name.startswith("_")} & HIDDEN
    assert names_in("def f(context):\n    return context.evaluator.loaded") & HIDDEN == {"evaluator", "loaded"}


def test_the_context_gives_what_methods_need(context: Context, loaded: Loaded) -> None:
    assert context.model is loaded.model
    assert context.tokenizer is loaded.tokenizer
    assert (context.depth, context.rounds, replace(context, layers=None).rounds) == (6, 3, 2)
    task = context.tasks[0]
    samples = context.select_items(task)
    assert samples == task.samples("select", 32, None)
    both = context.verdicts([(), (2,)], task, samples[:4])
    assert [[verdict.value for verdict in row] for row in both] == [
        [task.score(sample, response).value for sample, response in zip(samples, responses, strict=False)]
        for responses in (context.responses(removed, task, samples[:4]) for removed in ((), (2,)))
    ]
    assert context.prompt_ids(task, samples[0])


def test_a_cached_value_is_computed_once_for_a_model_and_its_text(context: Context) -> None:
    computed: list[int] = []

    def compute() -> list[int]:
        computed.append(1)
        return [len(computed)]

    assert context.cached("count", compute) == context.cached("count", compute) == [1]
    assert context.cached("another", compute) == [2]
    assert replace(context, calibration=calibration(context.tokenizer, 3)).cached("count", compute) == [3]


@pytest.fixture
def busy(context: Context) -> Context:
    """Tasks with fewer items than the context requests: one always right, one always wrong."""
    facts, brackets, functions = choose(["facts_choice", "brackets", "functions"])
    easy = replace(brackets, max_new_tokens=4, score=lambda *_: Verdict("correct", 1.0))
    hard = replace(functions, max_new_tokens=4, score=lambda *_: Verdict("wrong", 0.0))
    few = replace(facts, name="few", samples=lambda split, limit, data: facts.samples(split, min(limit, 5), data))
    text = calibration(context.tokenizer, 8)
    return replace(context, layers=2, calibration=text, tasks=(few, easy, hard), items=24, protected=())


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("name", names("methods"))
def test_the_shares_of_a_methods_work_add_up_to_1(name: str, layers: int, busy: Context) -> None:
    shares: list[float] = []
    asked = replace(busy, layers=layers, protected=(1,), on_progress=shares.append)
    find("methods", name)(asked)
    assert sum(shares) == pytest.approx(0 if name in IDLE else 1, abs=1e-6)
    assert all(share > 0 for share in shares)
    # The second time, everything is cached. Progress that a method does not report is reported at its end.
    for _ in range(2):
        shares.clear()
        rank(name, asked)
        assert sum(shares) == pytest.approx(1, abs=1e-6)


def test_a_method_that_reports_too_much_shows(busy: Context) -> None:
    shares: list[float] = []
    with replace(busy, on_progress=shares.append).progress(0.5) as report:
        report(1.5)
    assert sum(shares) == pytest.approx(0.75)
    shares.clear()
    with replace(busy, on_progress=shares.append).progress(0.5) as report:
        report(0.25)
    assert shares == pytest.approx([0.125, 0.375])
