"""A run in memory for tests of diagnostics: models, tasks and answers as they are given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from layerlimits.diagnostics import Answer, DiagnosedModel
from layerlimits.evaluation.artifacts import TaskRecord, TimingRecord
from layerlimits.types import FinishReason, Outcome, Response, Verdict

BASE = DiagnosedModel("base", "base", (), "base")


def skipped(layer: int) -> DiagnosedModel:
    """The model without one layer."""
    return DiagnosedModel(f"without layer {layer}", "sweep", (layer,), f"s{layer}")


def pruned(method: str, *removed: int) -> DiagnosedModel:
    """A model that a method has pruned."""
    return DiagnosedModel(f"{method}, {len(removed)} removed", "prune", removed, f"{method}{removed}")


def task(name: str, kind: str = "generation", **fields: Any) -> TaskRecord:
    """The record of a task; `fields` replaces some."""
    record = {
        "name": name,
        "version": 1,
        "kind": kind,
        "metric": "accuracy",
        "chance": 0.0,
        "summary": "",
        "protocol": "likelihood" if kind == "choice" else "free",
        "shots": 0,
        "template": None,
        "decodings": ["greedy"],
        "engine": "sweep",
        "sets": {},
        "ids": [],
        "prompts": {},
    }
    return cast(TaskRecord, record | fields)


def answer(
    item: str,
    text: str = "",
    value: float = 0.0,
    *,
    tokens: Sequence[int] | None = None,
    finish: FinishReason = "stop",
    outcome: Outcome | None = None,
    found: str = "",
    why: str = "",
    logprobs: Sequence[float] = (),
    **content: Any,
) -> Answer:
    """An answer; its tokens are the characters of the text if not given, and `content` the item."""
    response = Response(text, tuple(map(ord, text) if tokens is None else tokens), finish, tuple(logprobs))
    verdict = Verdict(outcome or ("correct" if value >= 1 else "wrong"), value, found, why)
    item_content = {"prompt": "", "target": "", "choices": [], **content} if content else None
    return Answer(item, response, verdict, item_content)


@dataclass
class FakeRun:
    """A `RunView` of these answers, by (label of the model, name of the task), or with the number of the draw."""

    stored: Mapping[tuple[Any, ...], Sequence[Answer]]
    tasks: Sequence[TaskRecord]
    models: Sequence[DiagnosedModel] = ()
    base: DiagnosedModel = BASE
    layers: int = 4
    timings: Sequence[TimingRecord] = field(default_factory=list)

    def answers(self, model: DiagnosedModel, task: TaskRecord, draw: int = 0) -> Mapping[str, Answer]:
        """See `RunView`."""
        key = (model.label, task["name"])
        rows = self.stored.get((*key, draw), self.stored.get(key, ()) if not draw else ())
        return {row.item: row for row in rows}

    def pairs(self, model: DiagnosedModel, task: TaskRecord) -> Sequence[tuple[Answer, Answer]]:
        """See `RunView`."""
        base, other = self.answers(self.base, task), self.answers(model, task)
        return [(base[item], other[item]) for item in base if item in other]


def right_and_wrong(right: int, wrong: int, start: int = 0, **fields: Any) -> list[Answer]:
    """Right answers, then wrong ones, to numbered items."""
    return [answer(f"i{start + n}", "text", float(n < right), **fields) for n in range(right + wrong)]
