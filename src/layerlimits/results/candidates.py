"""The pruned and finetuned models of a study that a verdict chooses among, with their answers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from layerlimits.evaluation.artifacts import Artifacts, Plan, RecoveredRecord, TaskRecord
from layerlimits.results.stored_answers import StoredAnswers


@dataclass(frozen=True)
class Candidate:
    """A pruned or finetuned model.

    Args:
        name: METHOD-LAYERS, or METHOD-LAYERS-FINETUNING.
        methods: The methods that remove these layers.
        removed: The removed layers.
        fingerprint: Its key in the run folder.
        record: How it was finetuned; None for a pruned model.
    """

    name: str
    methods: tuple[str, ...]
    removed: tuple[int, ...]
    fingerprint: str
    record: RecoveredRecord | None = None


@dataclass(frozen=True)
class PairedValues:
    """The values of the unpruned model and of another one on the same items of a task, in order."""

    task: str
    chance: float
    base: Sequence[float]
    other: Sequence[float]


def candidates(answers: StoredAnswers, artifacts: Artifacts) -> list[Candidate]:
    """The pruned models, each once however many methods choose its layers, and the finetuned ones."""
    found: dict[str, Candidate] = {}
    for plan in artifacts.plans:
        candidate = _pruned(answers, plan)
        same = found.get(candidate.fingerprint)
        found[candidate.fingerprint] = (
            replace(same, methods=tuple(dict.fromkeys((*same.methods, *candidate.methods)))) if same else candidate
        )
    for name, record in artifacts.recovered.items():
        found.setdefault(
            record["fingerprint"],
            Candidate(name, (record["method"],), tuple(sorted(record["removed"])), record["fingerprint"], record),
        )
    return list(found.values())


def _pruned(answers: StoredAnswers, plan: Plan) -> Candidate:
    removed = tuple(sorted(plan["removed"]))
    return Candidate(f"{plan['method']}-{plan['layers']}", (plan["method"],), removed, answers.fingerprint(removed))


def paired(answers: StoredAnswers, candidate: Candidate, tasks: Sequence[TaskRecord]) -> list[PairedValues] | None:
    """The values of a candidate on tasks; None if it has not answered all of them."""
    found = list(_paired(answers, candidate, tasks))
    return found if len(found) == len(tasks) and found else None


def _paired(answers: StoredAnswers, candidate: Candidate, tasks: Sequence[TaskRecord]) -> Iterator[PairedValues]:
    for task in tasks:
        base = answers.values(answers.fingerprint(()), task)
        other = answers.values(candidate.fingerprint, task)
        if base is not None and other is not None:
            yield PairedValues(task["name"], task["chance"], base, other)
