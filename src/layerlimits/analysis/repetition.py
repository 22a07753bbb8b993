"""Degenerate text: repeated n-grams, similar sentences, and loops that last until the end."""

import re
from collections.abc import Sequence

# Scripts that write no spaces between words: their characters are the units.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNIT = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")
# A longer "word" is no word, such as a number of hundreds of zeros: its characters are the units.
_LONGEST_WORD = 30
_SENTENCE = re.compile(r"[^.!?\n\u3002\uff01\uff1f]+")
# Shorter sentences have no 4-grams to compare; more sentences than this are not compared, which takes n^2 time.
_MIN_UNITS, MAX_SENTENCES = 4, 12
# A loop is a period that is repeated at least this often, over at least this many tokens.
MIN_PERIODS, MIN_LOOP_TOKENS = 3, 12


def units(text: str) -> list[str]:
    """The words and punctuation marks of a text; single characters where there are no words."""
    found: list[str] = []
    for match in _UNIT.finditer(text):
        word = match[0]
        found.extend(word if len(word) > _LONGEST_WORD else [word])
    return found


def repetition(parts: Sequence[object], n: int) -> float | None:
    """rep-n = 1 - distinct n-grams / n-grams (arXiv 1908.04319); None for fewer than n parts."""
    grams = [tuple(parts[start : start + n]) for start in range(len(parts) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def sentences(text: str) -> list[str]:
    """The sentences of a text that have at least four words or marks, at most `MAX_SENTENCES`, in order."""
    parts = (part.strip() for part in _SENTENCE.findall(text))
    return [part for part in parts if len(units(part)) >= _MIN_UNITS][:MAX_SENTENCES]


def self_bleu(text: str) -> float | None:
    """Mean BLEU-4 of each sentence with the others as references, 0 to 1; None for fewer than two sentences.

    Source: Texygen, arXiv 1802.01886; BLEU by sacrebleu, with effective order.
    """
    parts = [" ".join(units(part)) for part in sentences(text)]
    if len(parts) < 2:
        return None
    # Imported lazily: few commands need it.
    from sacrebleu.metrics.bleu import BLEU

    bleu = BLEU(effective_order=True, tokenize="none")
    scores = [
        bleu.sentence_score(part, [*parts[:place], *parts[place + 1 :]]).score for place, part in enumerate(parts)
    ]
    return float(sum(scores) / len(scores) / 100)


def loop_onset(tokens: Sequence[int]) -> int | None:
    """Index of the token from which a response repeats itself until its end; None if it does not.

    The response has period p from token s on if every token from s + p on equals the one p before it. The onset is the
    smallest s for which such a period fits at least `MIN_PERIODS` times and `MIN_LOOP_TOKENS` tokens are left.
    """
    size, backwards = len(tokens), list(reversed(tokens))
    repeated = _common_prefixes(backwards)
    onset: int | None = None
    for period in range(1, size // MIN_PERIODS + 1):
        length = repeated[period] + period
        if length >= max(MIN_PERIODS * period, MIN_LOOP_TOKENS) and (onset is None or size - length < onset):
            onset = size - length
    return onset


def _common_prefixes(parts: Sequence[int]) -> list[int]:
    """For each position, how many tokens from there on equal those at the start (the Z function), (N,), in O(N)."""
    size = len(parts)
    common = [0] * size
    left = right = 0
    for place in range(1, size):
        length = min(right - place, common[place - left]) if place < right else 0
        while place + length < size and parts[length] == parts[place + length]:
            length += 1
        common[place] = length
        if place + length > right:
            left, right = place, place + length
    return common
