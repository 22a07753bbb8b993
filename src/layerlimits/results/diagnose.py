"""Run the diagnostics on the stored answers of a run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from layerlimits.diagnostics import Answer, DiagnosedModel, Diagnostic, Finding, Source
from layerlimits.evaluation.artifacts import Artifacts, TaskRecord, TimingRecord
from layerlimits.evaluation.store import Store
from layerlimits.plugins import find, names
from layerlimits.results.frames import Document
from layerlimits.results.rows import plain
from layerlimits.results.stored_answers import StoredAnswers


@dataclass(frozen=True)
class DiagnoseResults(Document):
    """The findings of the diagnostics of a run, the main finding of each diagnostic first."""

    run: str
    findings: tuple[Finding, ...]

    def to_json(self) -> Any:
        """The findings as a list of plain JSON objects."""
        return [plain(finding) for finding in self.findings]

    @property
    def title(self) -> str:
        """The heading in a notebook."""
        return f"{self.run}: what is lost"

    def records(self) -> list[dict[str, Any]]:
        """A row per finding."""
        return [{field.name: getattr(row, field.name) for field in fields(row)} for row in self.findings]


class StoredRun:
    """The answers in a run folder as a `RunView`; each is read from the database once."""

    def __init__(self, answers: StoredAnswers, artifacts: Artifacts) -> None:
        self._stored = answers
        self.tasks: Sequence[TaskRecord] = [task for task in answers.tasks if not task.get("set_aside")]
        self._probes = {record["name"]: record for record in artifacts.probes}
        self.layers = _layers(answers, artifacts)
        self.timings: Sequence[TimingRecord] = artifacts.speed
        self.base = DiagnosedModel("base", "base", (), answers.fingerprint(()))
        self.models: Sequence[DiagnosedModel] = list(_models(answers, artifacts, self.layers))
        self._read: dict[tuple[str, str, int], Mapping[str, Answer]] = {}

    @classmethod
    def of(cls, store: Store) -> "StoredRun":
        """The run in a run folder.

        Raises:
            UserError: The folder contains neither a study nor answers of `evaluate` or `sweep`.
        """
        return cls(StoredAnswers.of_run(store), Artifacts(store))

    def answers(self, model: DiagnosedModel, task: TaskRecord, draw: int = 0) -> Mapping[str, Answer]:
        """See `RunView`."""
        key = (model.fingerprint, task["name"], draw)
        if key not in self._read:
            contents = self._stored.contents(task["name"])
            read = self._stored.read(model.fingerprint, task, draw)
            self._read[key] = {
                item: Answer(item, *read[item], contents.get(item)) for item in task["ids"] if item in read
            }
        return self._read[key]

    def pairs(self, model: DiagnosedModel, task: TaskRecord) -> Sequence[tuple[Answer, Answer]]:
        """See `RunView`."""
        base, other = self.answers(self.base, task), self.answers(model, task)
        return [(base[item], other[item]) for item in base if item in other]

    def probe(self, name: str) -> TaskRecord | None:
        """See `RunView`."""
        return self._probes.get(name)


def _layers(answers: StoredAnswers, artifacts: Artifacts) -> int:
    """The number of layers of the unpruned model; 0 if it is not stored."""
    if artifacts.base:
        return artifacts.base["layers"]
    model = answers.store.models().get(answers.fingerprint(()), {})
    return int(model.get("layers", 0))


def _models(answers: StoredAnswers, artifacts: Artifacts, layers: int) -> Iterator[DiagnosedModel]:
    """The models that have answered anything, by label; methods with the same plan share a model."""
    known = answers.store.models().keys()
    for layer in range(layers):
        fingerprint = answers.fingerprint((layer,))
        if fingerprint in known:
            yield DiagnosedModel(f"without layer {layer}", "sweep", (layer,), fingerprint)
    for plan in artifacts.plans:
        removed = tuple(plan["removed"])
        label = f"{plan['method']}, {plan['layers']} removed"
        yield DiagnosedModel(label, "prune", removed, answers.fingerprint(removed))
    for record in artifacts.recovered.values():
        parent = f"{record['method']}, {record['layers']} removed"
        label = f"{parent}, finetuned ({record['name']})"
        yield DiagnosedModel(label, "recover", tuple(record["removed"]), record["fingerprint"], parent)


def findings(view: StoredRun, diagnostics: Iterable[Diagnostic]) -> Iterator[Finding]:
    """The findings of diagnostics, at least one of each."""
    for diagnostic in diagnostics:
        rows = iter(diagnostic.findings(view))
        first = next(rows, None)
        yield first or Source(diagnostic.name, "base", "", diagnostic.name).not_measurable("the run has no answers")
        yield from rows


def chosen(only: Sequence[str] = ()) -> list[Diagnostic]:
    """The diagnostics by name or path of a file, all if no name is given.

    Raises:
        UserError: A diagnostic is unknown.
    """
    return [find("diagnostics", name) for name in only or names("diagnostics")]
