"""Degenerate text: repetition, length and truncation."""

import re
from collections.abc import Sequence

from layerlimits.diagnostics import Answered, Diagnostic

_WORD = re.compile(r"\w+|[^\w\s]")


def repetition(words: Sequence[str], n: int) -> float | None:
    """rep-n = 1 - distinct n-grams / n-grams; None for texts shorter than n words."""
    grams = [tuple(words[start : start + n]) for start in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def _measure(answered: Answered) -> dict[str, float]:
    words = _WORD.findall(answered.response.text)
    rates = {f"rep-{n}": repetition(words, n) for n in (2, 3, 4)}
    defined = {name: value for name, value in rates.items() if value is not None}
    cut = float(answered.response.finish == "length")
    return {**defined, "tokens": float(len(answered.response.tokens)), "truncated": cut}


degeneration = Diagnostic(
    "degeneration", _measure, source="rep-n of arXiv 1908.04319, as in arXiv 2602.01997", reads_item=False
)
