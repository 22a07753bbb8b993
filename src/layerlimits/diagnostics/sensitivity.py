"""Which layers each task depends on: retention without a layer, and how the tasks differ."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from layerlimits.diagnostics import Chart, DiagnosedModel, Diagnostic, Finding, RunView, Source, interval
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.statistics import intervals
from layerlimits.statistics.significance import holm, mcnemar
from layerlimits.types import Estimate

_NAME = "sensitivity"
_LEVEL = 0.05
Values = tuple[list[float], list[float]]


def _findings(view: RunView) -> Iterator[Finding]:
    swept = [model for model in view.models if model.stage == "sweep"]
    values = {
        (model.label, task["name"]): pair
        for model in swept
        for task in view.tasks
        if (pair := _values(view, model, task))
    }
    retained = {
        key: kept
        for key, pair in values.items()
        if (kept := intervals.retention(*pair, _task(view, key[1])["chance"])) is not None
    }
    if not retained:
        why = "no layer was skipped alone, or the unpruned model is at chance on every task"
        yield Source(_NAME, "base", "", "retention").not_measurable(why)
        return
    yield _main(retained)
    for (model, task), kept in retained.items():
        sentence = f"{model.capitalize()}, {task} keeps {interval(kept)} of the unpruned model's score above chance."
        yield Source(_NAME, model, task, "retention").measured(kept, sentence)
    yield from _classes(view, swept, values)
    yield from _generation_only(view, swept, values)
    yield from _helpful(values)
    yield from _agreement(view, swept, retained)


def _task(view: RunView, name: str) -> TaskRecord:
    return next(task for task in view.tasks if task["name"] == name)


def _values(view: RunView, model: DiagnosedModel, task: TaskRecord) -> Values | None:
    """The scores of the unpruned model and of a model on their common items."""
    pairs = view.pairs(model, task)
    if not pairs:
        return None
    return [base.verdict.value for base, _ in pairs], [other.verdict.value for _, other in pairs]


def _main(retained: Mapping[tuple[str, str], Estimate]) -> Finding:
    (model, task), kept = min(retained.items(), key=lambda item: item[1].estimate)
    sentence = (
        f"Of {len(retained)} combinations of a skipped layer and a task, {task} {model} loses most: it keeps "
        f"{interval(kept)} of the unpruned model's score above chance."
    )
    return Source(_NAME, model, task, "lowest retention").measured(kept, sentence)


def _classes(
    view: RunView, swept: Sequence[DiagnosedModel], values: Mapping[tuple[str, str], Values]
) -> Iterator[Finding]:
    """Mean retention over all tasks and over those of a class."""
    for name, kinds in (("mean", ("generation", "choice")), ("generation", ("generation",)), ("choice", ("choice",))):
        tasks = [task for task in view.tasks if task["kind"] in kinds]
        for model in swept:
            pairs = [
                (values[model.label, task["name"]], task["chance"])
                for task in tasks
                if (model.label, task["name"]) in values
            ]
            kept = intervals.shared([pair for pair, _ in pairs], [chance for _, chance in pairs]) if pairs else None
            source = Source(_NAME, model.label, "", f"mean retention, {name}" if name != "mean" else "mean retention")
            if kept is not None:
                sentence = (
                    f"{model.label.capitalize()}, the mean retention of {len(pairs)} tasks ({name}) is "
                    f"{interval(kept)}."
                )
                yield source.measured(kept, sentence)


def _generation_only(
    view: RunView, swept: Sequence[DiagnosedModel], values: Mapping[tuple[str, str], Values]
) -> Iterator[Finding]:
    """Layers whose removal costs generation tasks more than choice tasks, by intervals that do not overlap."""
    kinds = {kind: [task for task in view.tasks if task["kind"] == kind] for kind in ("generation", "choice")}
    if not all(kinds.values()):
        yield Source(_NAME, "base", "", "generation only").not_measurable("the run has tasks of one class only")
        return
    for model in swept:
        kept = {}
        for kind, tasks in kinds.items():
            pairs = [
                (values[model.label, task["name"]], task["chance"])
                for task in tasks
                if (model.label, task["name"]) in values
            ]
            kept[kind] = (
                intervals.shared([pair for pair, _ in pairs], [chance for _, chance in pairs]) if pairs else None
            )
        generation, choice = kept["generation"], kept["choice"]
        if generation and choice and generation.high < choice.low:
            sentence = (
                f"{model.label.capitalize()}, generation keeps {interval(generation)} and choice "
                f"{interval(choice)}: this "
                "layer matters to generation and not as much to choice."
            )
            yield Source(_NAME, model.label, "", "generation only").measured(generation, sentence)


def _helpful(values: Mapping[tuple[str, str], Values]) -> Iterator[Finding]:
    """Layers without which a task's score is higher, corrected for all combinations that were looked at."""
    binary = {key: pair for key, pair in values.items() if all(number in (0, 1) for side in pair for number in side)}
    tests = {key: mcnemar(*pair) for key, pair in binary.items()}
    adjusted = holm([test.p for test in tests.values()])
    for (key, test), p in zip(tests.items(), adjusted, strict=True):
        if test.c > test.b and p <= _LEVEL:
            model, task = key
            value = intervals.mean(binary[key][1])
            sentence = (
                f"{model.capitalize()}, {task} improves to {interval(value)}: {test.c} items won and {test.b} lost "
                f"(McNemar's exact test, p = {p:.2g} after Holm's correction for {len(tests)} looks)."
            )
            yield Source(_NAME, model, task, "removal helps").measured(value, sentence)


def _agreement(
    view: RunView, swept: Sequence[DiagnosedModel], retained: Mapping[tuple[str, str], Estimate]
) -> Iterator[Finding]:
    """Kendall's tau between the orders in which two tasks depend on the layers."""
    for first, second in combinations([task["name"] for task in view.tasks], 2):
        both = [
            model.label for model in swept if (model.label, first) in retained and (model.label, second) in retained
        ]
        source = Source(_NAME, "base", f"{first}, {second}", "Kendall's tau")
        columns = [[retained[label, task].estimate for label in both] for task in (first, second)]
        tau = intervals.kendall_tau(*columns)
        if tau is None:
            yield source.not_measurable(f"{first} and {second} have {len(both)} common layers with different retention")
            continue
        low, high = _tau_interval(columns)
        sentence = (
            f"The orders of layers of {first} and {second} agree with Kendall's tau {tau:.2f} over {len(both)} layers."
        )
        yield source.measured(Estimate(tau, min(low, tau), max(high, tau), len(both)), sentence)


def _tau_interval(columns: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The 95% interval of Kendall's tau by leaving out one layer at a time (jackknife)."""
    size = len(columns[0])
    tau = intervals.kendall_tau(*columns) or 0.0
    left_out = [
        intervals.kendall_tau(*([value for place, value in enumerate(column) if place != out] for column in columns))
        for out in range(size)
    ]
    known = [value for value in left_out if value is not None]
    if len(known) < 2:
        return -1.0, 1.0
    mean = sum(known) / len(known)
    error = ((len(known) - 1) / len(known) * sum((value - mean) ** 2 for value in known)) ** 0.5
    return max(-1.0, tau - 1.96 * error), min(1.0, tau + 1.96 * error)


sensitivity = Diagnostic(
    _NAME,
    "Which layers matter to which task",
    _findings,
    (
        Chart("Retention without one layer", "layers", ("retention",), "retention"),
        Chart(
            "Mean retention by class",
            "layers",
            ("mean retention", "mean retention, generation", "mean retention, choice"),
            "retention",
        ),
    ),
    source="arXiv 2602.01997, sweep of single layers",
    caption="Retention is the share of the unpruned model's score above chance that is left without one layer.",
)
