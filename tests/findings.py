"""Run a diagnostic on a made-up run, pick one of its findings, and check its sentence."""

import re
from collections.abc import Sequence

from fake_run import FakeRun, pruned, task

from layerlimits.diagnostics import Answer, DiagnosedModel, Diagnostic, Finding
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.plugins import find

CUT = pruned("reverse", 2, 3)
GSM8K = task("gsm8k")


def found(name: str, run: FakeRun) -> list[Finding]:
    """The findings of a diagnostic."""
    diagnostic: Diagnostic = find("diagnostics", name)
    return list(diagnostic.findings(run))


def pick(rows: Sequence[Finding], measure: str, model: str = "", task: str = "", x: float | None = None) -> Finding:
    """The finding with this measure; the first one is the main finding, which repeats another."""
    matching = [
        row
        for row in rows[1:]
        if row.measure == measure and model in ("", row.model) and task in ("", row.task) and (x is None or row.x == x)
    ]
    assert len(matching) == 1, [(row.measure, row.model, row.task, row.x) for row in rows]
    return matching[0]


def two_models(
    base: Sequence[Answer], other: Sequence[Answer], task: TaskRecord = GSM8K, model: DiagnosedModel = CUT
) -> FakeRun:
    """A run of the unpruned model and another one on a task."""
    return FakeRun({("base", task["name"]): base, (model.label, task["name"]): other}, [task], [model])


def check_sentence(row: Finding) -> None:
    """A sentence contains its estimate, as a percentage or as a number, or says why there is none."""
    assert row.sentence.rstrip()[-1:] == "." or row.estimate is None, row.sentence
    if row.estimate is None:
        assert row.sentence.startswith("not measurable: ")
        assert row.low is row.high is None
        return
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.estimate <= row.high
    assert row.n > 0
    shown = [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*\.?\d*", row.sentence)]
    forms = (row.estimate, 100 * row.estimate)
    assert any(abs(number - form) <= max(0.51, 0.006 * abs(form)) for number in shown for form in forms), row
