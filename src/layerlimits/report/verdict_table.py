"""The table of all judged models of a study."""

from layerlimits.report.tables import Cell, Column, Table, numbers, texts
from layerlimits.report.units import size
from layerlimits.results.document import StudyResults
from layerlimits.results.verdict import Judgement
from layerlimits.types import Estimate


def verdict_table(results: StudyResults) -> Table:
    """A row per judged model and requirement."""
    cards = results.verdict.cards if results.verdict else ()
    rows: list[list[Cell]] = []
    for card in cards:
        gain, worst = card.gain, card.worst
        for judged in card.judgements:
            rows.append(
                [card.name, card.verdict, card.layers, ", ".join(map(str, card.removed)), judged.requirement,
                 _retention(judged), judged.n, judged.verdict, judged.items_needed,
                 worst.task if worst else "", worst.retention if worst else None, gain.speedup if gain else None,
                 gain.peak_bytes if gain else None]
            )  # fmt: skip
    columns = (
        *texts("model", "verdict"), *numbers("layers removed"), *texts("removed layers", "requirement"),
        Column("retention (bounds at the shared error)", "estimate"), *numbers("n"), *texts("judgement"),
        *numbers("items needed"), *texts("worst task"), Column("its retention (bounds)", "estimate"),
        Column("speedup (range)", "estimate"), *numbers("memory", show=size),
    )  # fmt: skip
    return Table("verdicts", "Every judged model", columns, rows, results.verdict.choice if results.verdict else "")


def _retention(judged: Judgement) -> Estimate | None:
    if judged.estimate is None or judged.low is None or judged.high is None:
        return None
    return Estimate(judged.estimate, judged.low, judged.high, judged.n)
