"""The recovery of finetuned models: scores by task and class, the closed gap, tests, curves, and harm."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from layerlimits.evaluation.artifacts import RecoveredRecord, TaskRecord
from layerlimits.results.curves import RegainedClass
from layerlimits.results.figures import any_paired_test
from layerlimits.results.harm import harm
from layerlimits.results.milestones import recovery_curve
from layerlimits.results.rows import PairedTest, Recovery, Regained
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm
from layerlimits.types import Kind

_KINDS: tuple[Kind, ...] = ("choice", "generation")
# Values by item of the unpruned, the pruned and the finetuned model.
_Values = tuple[list[float], list[float], list[float]]


def recovery_rows(answers: StoredAnswers, records: Sequence[RecoveredRecord]) -> tuple[Recovery, ...]:
    """One row per finetuned model. P-values are corrected over the table: once against the pruned models, and once
    against the unpruned one.

    Args:
        answers: The stored answers, cut to the items on which pruned models are evaluated.
        records: The finetuned models.
    """
    rows = [_row(answers, record) for record in records]
    against_pruned = _adjusted([task.pruned_test for row in rows for task in row.tasks])
    against_base = _adjusted([task.base_test for row in rows for task in row.tasks])
    adjusted = []
    for row in rows:
        tasks = tuple(
            replace(task, pruned_test=next(against_pruned), base_test=next(against_base)) for task in row.tasks
        )
        adjusted.append(replace(row, tasks=tasks))
    return tuple(replace(row, harm=harm(row)) for row in adjusted)


def _adjusted(tests: Sequence[PairedTest | None]) -> Iterator[PairedTest | None]:
    """The tests with Holm's correction over all of them."""
    adjusted = iter(holm([test.p for test in tests if test]))
    yield from (replace(test, p_holm=next(adjusted)) if test else None for test in tests)


def _row(answers: StoredAnswers, record: RecoveredRecord) -> Recovery:
    values = {task["name"]: found for task in answers.tasks if (found := _values(answers, record, task))}
    tasks = [task for task in answers.tasks if task["name"] in values]
    known = answers.tasks
    return Recovery(
        name=record["name"],
        method=record["method"],
        ratio=record["ratio"],
        layers=record["layers"],
        removed=tuple(record["removed"]),
        settings=record["settings"],
        examples=record["examples"],
        dropped=record["dropped"],
        trained_tokens=record["trained_tokens"],
        seconds=record["seconds"],
        tasks=tuple(_task(task, values[task["name"]]) for task in tasks),
        # Runs of former versions know one objective only.
        objective=str(record["settings"].get("objective", "self")),
        classes=tuple(_classes(tasks, values)),
        curve=recovery_curve(
            record,
            {task["name"]: task["kind"] for task in known},
            {task["name"]: task["chance"] for task in known},
        ),
    )


def _values(answers: StoredAnswers, record: RecoveredRecord, task: TaskRecord) -> _Values | None:
    models = (answers.fingerprint(()), answers.fingerprint(record["removed"]), record["fingerprint"])
    base, pruned, recovered = (answers.values(model, task) for model in models)
    if base is None or pruned is None or recovered is None:
        return None
    return base, pruned, recovered


def _task(task: TaskRecord, values: _Values) -> Regained:
    base, pruned, recovered = values
    return Regained(
        task=task["name"],
        kind=task["kind"],
        base=intervals.mean(base),
        pruned=intervals.mean(pruned),
        recovered=intervals.mean(recovered),
        regained=intervals.regained(base, pruned, recovered),
        change=intervals.difference([(pruned, recovered)]),
        pruned_test=any_paired_test(pruned, recovered),
        base_test=any_paired_test(base, recovered),
    )


def _classes(tasks: Sequence[TaskRecord], values: Mapping[str, _Values]) -> Iterator[RegainedClass]:
    for kind in _KINDS:
        members = [values[task["name"]] for task in tasks if task["kind"] == kind]
        if members:
            base, pruned, recovered = ([member[model] for member in members] for model in range(3))
            yield RegainedClass(
                kind=kind,
                tasks=tuple(task["name"] for task in tasks if task["kind"] == kind),
                base=intervals.mean_over_tasks(base),
                pruned=intervals.mean_over_tasks(pruned),
                recovered=intervals.mean_over_tasks(recovered),
                regained=intervals.gap_closed(members),
                change=intervals.difference(list(zip(pruned, recovered, strict=True))),
                retention=intervals.shared(
                    list(zip(base, recovered, strict=True)), [task["chance"] for task in tasks if task["kind"] == kind]
                ),
            )
