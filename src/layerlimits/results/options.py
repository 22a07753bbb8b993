"""Quality against memory and speed: the timed models of a study next to what was measured instead of pruning."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from layerlimits.evaluation.artifacts import AlternativeRecord, Artifacts, TaskRecord, TimingRecord
from layerlimits.results.alternatives import Alternative, AlternativeClass, AlternativeTask
from layerlimits.results.figures import any_paired_test, median_and_range
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm
from layerlimits.types import Kind

_KINDS: tuple[Kind, ...] = ("choice", "generation")


@dataclass(frozen=True)
class _Option:
    """A model with its records of the tasks, and how fast it is."""

    name: str
    kind: str
    bits: int | None
    layers: int
    fingerprint: str
    tasks: Sequence[TaskRecord]
    size: TimingRecord | AlternativeRecord
    base_rates: Sequence[float]


def alternative_rows(answers: StoredAnswers, artifacts: Artifacts) -> tuple[Alternative, ...]:
    """The unpruned model, the timed pruned and finetuned models, and the measured alternatives; empty without those.

    Args:
        answers: The stored answers, cut to the items on which pruned models are evaluated.
        artifacts: What the run folder stores besides responses.
    """
    if not artifacts.alternatives or not answers.tasks:
        return ()
    rows = [row for option in _options(answers, artifacts) if (row := _row(answers, option))]
    tests = [task.test for row in rows for task in row.tasks if task.test]
    adjusted = iter(holm([test.p for test in tests]))
    return tuple(
        replace(
            row,
            tasks=tuple(
                replace(task, test=replace(task.test, p_holm=next(adjusted))) if task.test else task
                for task in row.tasks
            ),
        )
        for row in rows
    )


def _options(answers: StoredAnswers, artifacts: Artifacts) -> Iterator[_Option]:
    base = artifacts.base
    assert base is not None, "alternatives are measured after the unpruned model"
    timed = {tuple(sorted(timing["removed"])): timing for timing in artifacts.speed}
    rates = timed[()]["tokens_per_s"] if () in timed else []
    for removed, timing in timed.items():
        layers = base["layers"] - len(removed)
        names = [plan["method"] for plan in artifacts.plans if tuple(plan["removed"]) == removed]
        name = f"{len(removed)} layers removed by {names[0] if names else 'a method'}" if removed else "unpruned"
        kind = "pruned" if removed else "unpruned"
        yield _Option(name, kind, None, layers, answers.fingerprint(removed), answers.tasks, timing, rates)
        for record in artifacts.recovered.values():
            if removed and tuple(record["removed"]) == removed:
                finetuned = f"{name}, finetuned ({record['name']})"
                # Adapters are merged: the model has the size and the speed of the pruned one.
                yield _Option(finetuned, "finetuned", None, layers, record["fingerprint"], answers.tasks, timing, rates)
    for other in artifacts.alternatives:
        kind = "sibling" if other["bits"] is None else "quantized"
        tasks = _same_items(answers, other["tasks"])
        yield _Option(
            other["name"],
            kind,
            other["bits"],
            other["layers"],
            other["fingerprint"],
            tasks,
            other,
            other["base_tokens_per_s"],
        )


def _same_items(answers: StoredAnswers, records: Sequence[TaskRecord]) -> list[TaskRecord]:
    """A model's own records of the tasks, for the items on which pruned models are evaluated."""
    own = {record["name"]: record for record in records}
    return [{**own[task["name"]], "ids": task["ids"]} for task in answers.tasks if task["name"] in own]


def _row(answers: StoredAnswers, option: _Option) -> Alternative | None:
    """The row of a model; None if it was not timed, or has not answered everything."""
    whole = {task["name"]: answers.values(answers.fingerprint(()), task) for task in answers.tasks}
    own = {task["name"]: _values(answers, option, task) for task in option.tasks}
    pairs = {
        name: (base, values)
        for name, base in whole.items()
        if base is not None and (values := own.get(name)) is not None
    }
    if len(pairs) < len(whole) or not option.base_rates:
        return None
    rates = option.size["tokens_per_s"]
    kinds = {task["name"]: task["kind"] for task in answers.tasks}
    chances = {task["name"]: task["chance"] for task in answers.tasks}
    return Alternative(
        name=option.name,
        kind=option.kind,
        bits=option.bits,
        layers=option.layers,
        parameters=option.size["parameters"],
        weight_bytes=option.size["weight_bytes"],
        peak_bytes=option.size["memory_bytes"],
        tokens_per_s=median_and_range(rates),
        speedup=median_and_range([rate / base for rate, base in zip(rates, option.base_rates, strict=True)]),
        tasks=tuple(_task(name, kinds[name], *pair, other=option.kind != "unpruned") for name, pair in pairs.items()),
        classes=tuple(
            _class(
                kind,
                [pairs[name] for name in pairs if kinds[name] == kind],
                [chances[name] for name in pairs if kinds[name] == kind],
            )
            for kind in _KINDS
            if kind in kinds.values()
        ),
    )


def _values(answers: StoredAnswers, option: _Option, task: TaskRecord) -> list[float] | None:
    # Records of another tokenizer or engine select other rows of the store, which StoredAnswers remembers by name.
    reader = StoredAnswers(answers.store, answers.ref, [task])
    return reader.values(option.fingerprint, task)


def _task(name: str, kind: Kind, base: list[float], values: list[float], *, other: bool) -> AlternativeTask:
    test = any_paired_test(base, values) if other else None
    return AlternativeTask(name, kind, intervals.mean(values), intervals.difference([(base, values)]), test)


def _class(kind: Kind, pairs: Sequence[tuple[list[float], list[float]]], chances: Sequence[float]) -> AlternativeClass:
    return AlternativeClass(
        kind=kind,
        score=intervals.mean_over_tasks([values for _, values in pairs]),
        difference=intervals.difference(pairs),
        retention=intervals.shared(pairs, chances),
    )
