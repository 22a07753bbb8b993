"""The tables of perplexities of documents."""

from collections.abc import Iterator

from layerlimits.report.tables import Cell, Column, Table, numbers, texts
from layerlimits.results.document import StudyResults

_PARTS = {
    "texts": (("base", "prune", "recover"), "Perplexity of documents"),
    "texts_sweep": (("sweep",), "Perplexity of documents with one layer skipped"),
}


def text_tables(results: StudyResults) -> Iterator[Table]:
    """Perplexities of the unpruned, pruned and finetuned models, and of those with one layer skipped."""
    measured = dict.fromkeys((row.task, row.window, row.stride) for row in results.texts)
    windows = " ".join(f"{task}: windows of {window} tokens, stride {stride}." for task, window, stride in measured)
    for name, (stages, caption) in _PARTS.items():
        rows: list[list[Cell]] = [
            [row.task, row.model, row.relative, row.perplexity, row.word_perplexity, row.byte_perplexity,
             row.documents, row.tokens]
            for row in results.texts
            if row.stage in stages
        ]  # fmt: skip
        yield Table(name, caption, _COLUMNS, rows, f"Relative: divided by the unpruned model's. {windows}")


def _perplexity(*titles: str) -> tuple[Column, ...]:
    return tuple(Column(f"{title} (95% CI)", "estimate", lambda value: f"{value:.4g}") for title in titles)


_COLUMNS = (*texts("task", "model"), *_perplexity("relative", "per token", "per word", "per byte"),
            *numbers("documents", "tokens"))  # fmt: skip
