"""The tables of a study, from its results."""

from collections.abc import Iterator, Sequence

from layerlimits.diagnostics import Finding
from layerlimits.report.tables import Cell, Column, Table, estimates, numbers, texts, without_empty
from layerlimits.report.text_tables import text_tables
from layerlimits.report.truncation import TRUNCATED, cut, truncated
from layerlimits.report.units import percent, size
from layerlimits.report.verdict_table import verdict_table
from layerlimits.results.document import StudyResults
from layerlimits.results.harm import objective_words
from layerlimits.results.rows import PairedTest, Recovery, TaskScore

_WIDE = Column("description", "wide")


def tested(test: PairedTest | None) -> tuple[Cell, Cell, Cell]:
    """The cells of a paired test: lost items, won items, corrected p-value."""
    return (test.lost, test.won, test.p_holm if test.p_holm is not None else test.p) if test else (None, None, None)


_TESTED = (*numbers("lost", "won"), Column("p (Holm)", "number", lambda value: f"{value:.2g}"))


def tables(results: StudyResults) -> dict[str, Table]:
    """All tables that have rows, by name, in the order of the page."""
    made = (
        verdict_table(results), _base(results), _sets(results), _sweep(results), _classes(results), _pruned(results),
        *text_tables(results), _methods(results), _protocols(results), *recovery_tables(results), _speed(results),
        _options(results), _option_tasks(results), _rates(results), _stages(results), *_findings(results),
    )  # fmt: skip
    return {table.name: without_empty(table) for table in made if table.rows}


def asked(task: TaskScore) -> str:
    """A task's protocol, number of examples and prompt format."""
    shots = f", {task.shots}-shot" if task.shots else ""
    return f"{task.protocol.replace('_', ' ')}{shots}, {'chat' if task.template else 'plain text'}"


def _base(results: StudyResults) -> Table:
    rows: list[list[Cell]] = []
    for task in results.tasks:
        outcomes = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in task.outcomes.items()) + cut(task)
        aside = f"; set aside: {task.set_aside}" if task.set_aside else ""
        about = (task.name, task.kind, task.summary + aside, asked(task))
        rows.append([*about, task.metric, task.score, task.strict, task.score.n, task.chance or None, outcomes])
        rows += [[*about, name, value, None, value.n, None, ""] for name, value in task.measures.items()]
    columns = (
        *texts("task", "class"), _WIDE, *texts("protocol", "metric"), *estimates("score", "strict score"),
        *numbers("n", "chance"), Column("outcomes", "wide"),
    )  # fmt: skip
    note = (
        "The strict score counts only answers in the required format." if any(t.strict for t in results.tasks) else ""
    )
    return Table("base", "Scores of the unpruned model", columns, rows, note)


def _sets(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [task.name, part, score, score.n] for task in results.tasks for part, score in task.sets.items()
    ]
    return Table("sets", "Scores by subset", (*texts("task", "subset"), *estimates("score"), *numbers("n")), rows)


def _sweep(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.layer, row.task, row.score, row.retention, row.corrected, *tested(row.test), row.score.n]
        for row in results.sweep
    ]
    columns = (
        *numbers("skipped layer"), *texts("task"), *estimates("score", "retention", "corrected for chance"),
        *_TESTED, *numbers("n"),
    )  # fmt: skip
    return Table("sweep", "Scores and retention with one layer skipped", columns, rows, _MCNEMAR)


_MCNEMAR = (
    "Lost and won: items that only the unpruned and only this model answers correctly. p: exact McNemar test with "
    "Holm's correction over the table."
)


def _removed(layers: Sequence[int]) -> str:
    return ", ".join(map(str, layers))


def _classes(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.method, row.ratio, row.layers, row.kind, row.retention, row.corrected,
         row.retention.n if row.retention else None, _removed(row.removed), ", ".join(row.left_out)]
        for row in results.classes
    ]  # fmt: skip
    columns = (
        *texts("method"), *numbers("ratio", show=percent), *numbers("layers removed"), *texts("class"),
        *estimates("retention", "corrected for chance"), *numbers("n"),
        *texts("removed layers", "excluded (at chance)"),
    )  # fmt: skip
    return Table("classes", "Mean retention of each class by method and ratio", columns, rows)


def _pruned(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.method, row.layers, row.task, row.score, row.strict, row.retention, row.corrected, *tested(row.test),
         row.score.n, *truncated(row.truncation)]
        for row in results.pruned
    ]  # fmt: skip
    columns = (
        *texts("method"), *numbers("layers removed"), *texts("task"),
        *estimates("score", "strict score", "retention", "corrected for chance"), *_TESTED, *numbers("n"), *TRUNCATED,
    )  # fmt: skip
    return Table("pruned", "Results by method, ratio and task", columns, rows, _MCNEMAR)


def _methods(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.method, _removed(row.order), row.source, row.items, row.seconds] for row in results.methods
    ]
    columns = (Column("method"), Column("order of removal", "wide"), Column("source", "wide"),
               *numbers("items used", "seconds"))  # fmt: skip
    return Table("methods", "Order in which each method removes layers", columns, rows)


def _protocols(results: StudyResults) -> Table:
    names = [
        name for name in ("likelihood", "one_token", "free") if any(name in row.scores for row in results.protocols)
    ]
    rows: list[list[Cell]] = []
    for row in results.protocols:
        scores = [row.scores.get(name) for name in names]
        n = next(iter(row.scores.values())).n
        rows.append([row.task, row.method, row.layers, *scores, row.recognition_only, n])
    columns = (
        *texts("task", "method"), *numbers("layers removed"), *estimates(*(name.replace("_", " ") for name in names)),
        *estimates("recognition only"), *numbers("n"),
    )  # fmt: skip
    note = "Recognition only: the share of items that are correct by likelihood and wrong in free generation."
    return Table("protocols", "The same items under several protocols", columns, rows, note)


def recovery_tables(results: StudyResults) -> Iterator[Table]:
    """One table per pruned model that was finetuned: a row per class and task, columns per finetuned model."""
    groups: dict[tuple[str, tuple[int, ...]], list[Recovery]] = {}
    for entry in results.recovery:
        if entry.tasks:
            groups.setdefault((entry.method, entry.removed), []).append(entry)
    for number, entries in enumerate(groups.values()):
        yield _recovery(f"recovery_{number}", entries)


def _recovery(name: str, entries: Sequence[Recovery]) -> Table:
    first = entries[0]
    rows: list[list[Cell]] = []
    for part in first.classes:
        cells: list[Cell] = [f"{part.kind} (mean over tasks)", part.base, part.pruned]
        for entry in entries:
            own = next((row for row in entry.classes if row.kind == part.kind), None)
            cells += [own.recovered, own.regained, None] if own else [None] * 3
        rows.append([*cells, part.base.n])
    for task in first.tasks:
        cells = [task.task, task.base, task.pruned]
        for entry in entries:
            mine = next((row for row in entry.tasks if row.task == task.task), None)
            cells += [mine.recovered, mine.regained, tested(mine.pruned_test)[2]] if mine else [None] * 3
        rows.append([*cells, task.base.n])
    columns = [*texts("class or task"), *estimates("unpruned", "pruned")]
    for entry in entries:
        how = f"{objective_words(entry)}, {entry.name}"
        columns += estimates(how, f"gap closed: {how}")
        columns.append(Column(f"p against pruned (Holm): {how}", "number", lambda value: f"{value:.2g}"))
    removed = f"{first.layers} layer{'s' * (first.layers != 1)} removed by {first.method}"
    caption = f"Unpruned, pruned and finetuned scores: {removed}"
    note = (
        "Gap closed: the regained part of the score that pruning lost; negative if finetuning lost more, \u2013 if the "
        "loss is not significant. p: exact paired test against the pruned model, with Holm's correction over all "
        "finetuned models."
    )
    return Table(name, caption, (*columns, *numbers("n")), rows, note)


def _speed(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [
            row.model,
            _removed(row.removed),
            row.parameters,
            row.weight_bytes,
            row.peak_bytes,
            row.tokens_per_s,
            row.speedup,
        ]
        for row in results.speed
    ]
    memory = "memory (weights and cache)" if results.model.device == "cpu" else "peak memory"
    speeds = (
        Column("tokens/s (range)", "estimate", lambda value: f"{value:.0f}"),
        Column("speedup (range)", "estimate"),
    )
    columns = (
        *texts("model", "removed layers"),
        *numbers("parameters"),
        *numbers("weights", memory, show=size),
        *speeds,
    )
    note = "Median and range over interleaved runs on the same prompts."
    return Table("speed", "Speed and memory", columns, rows, note)


def _options(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.name, row.kind, row.layers, row.weight_bytes, row.peak_bytes, row.tokens_per_s, row.speedup, part.kind,
         part.score, part.retention]
        for row in results.alternatives
        for part in row.classes
    ]  # fmt: skip
    speeds = (
        Column("tokens/s (range)", "estimate", lambda value: f"{value:.0f}"),
        Column("speedup (range)", "estimate"),
    )
    columns = (
        *texts("model", "kind"), *numbers("layers"), *numbers("weights", "memory", show=size), *speeds, *texts("class"),
        *estimates("mean score", "retention"),
    )  # fmt: skip
    return Table("options", "Pruned models and what can be used instead, on the same items", columns, rows)


def _option_tasks(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [
        [row.name, task.task, task.score, task.difference, *tested(task.test), task.score.n]
        for row in results.alternatives
        for task in row.tasks
    ]
    columns = (*texts("model", "task"), *estimates("score", "difference from unpruned"), *_TESTED, *numbers("n"))
    return Table("option_tasks", "Alternatives by task", columns, rows)


def _rates(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [[rate.dtype, rate.rows, rate.gflops] for rate in results.model.dtype_rates]
    return Table("rates", "Measured matrix products", (*texts("number type"), *numbers("rows", "GFLOPS")), rows)


def _stages(results: StudyResults) -> Table:
    rows: list[list[Cell]] = [[row.stage, row.seconds] for row in results.stages]
    columns = (*texts("stage"), Column("seconds", "number", lambda value: f"{value:,.0f}"))
    return Table("stages", "Duration by stage", columns, rows)


def _findings(results: StudyResults) -> Iterator[Table]:
    """One table of findings per diagnostic, without the main finding, which is the first."""
    by_name: dict[str, list[Finding]] = {}
    for row in results.diagnostics:
        by_name.setdefault(row.diagnostic, []).append(row)
    order = {model.label: ("base", "prune", "recover", "sweep").index(model.stage) for model in results.models}
    columns = (*texts("model", "task", "measure"), *estimates("estimate"), *numbers("n"), Column("finding", "wide"))
    for name, rows in by_name.items():
        ordered = sorted(rows[1:], key=lambda row: (row.estimate is None, order.get(row.model, len(order))))
        cells: list[list[Cell]] = [
            [row.model, row.task, _measure(row), row.value, row.n, row.sentence] for row in ordered
        ]
        yield Table(f"findings_{name}", f"Findings of {name}", columns, cells)


def _measure(row: Finding) -> str:
    return row.measure if row.x is None else f"{row.measure}, {row.axis} {row.x:g}"
