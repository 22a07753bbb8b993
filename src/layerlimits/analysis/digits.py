"""How a tokenizer writes numbers, and the tokens of a number in its context."""

from collections.abc import Callable, Sequence
from typing import Literal

DigitGrouping = Literal["one digit", "up to three digits", "learned pieces"]

# Numbers of one to ten digits, without long runs of one digit, which tokenizers may keep as one token.
_NUMBERS = ("7", "42", "305", "1984", "86420", "719385", "2468013", "97531864", "314159265", "2718281828")
# Texts before a number, tried in this order: tokenizers treat the start of a text in different ways.
_ANCHORS = ("=", "a", "")

Encode = Callable[[str], Sequence[int]]
Decode = Callable[[Sequence[int]], str]


def grouping(encode: Encode, decode: Decode) -> DigitGrouping:
    """Whether a tokenizer splits numbers into digits, into groups of three, or into pieces that it has learned.

    Args:
        encode: Text to token ids, without special tokens.
        decode: Token ids to text.
    """
    lengths = [[_digits(decode([token])) for token in encode(number)] for number in _NUMBERS]
    # A token without digits is a mark that the tokenizer puts before the first word.
    sizes = [[size for size in row if size] for row in lengths]
    if all(size == 1 for row in sizes for size in row):
        return "one digit"
    if all(_in_threes(row) for row in sizes):
        return "up to three digits"
    return "learned pieces"


def _digits(text: str) -> int:
    return sum(mark.isdigit() for mark in text)


def _in_threes(sizes: Sequence[int]) -> bool:
    """Whether all groups have three digits but the first or the last one, which may have fewer."""
    if max(sizes, default=0) > 3:
        return False
    return all(size == 3 for size in sizes[1:]) or all(size == 3 for size in sizes[:-1])


def tokens_before(decode: Decode, tokens: Sequence[int], text: str, position: int) -> int | None:
    """The largest number of first tokens whose text ends at or before a character; None if the tokens do not write
    the text up to there.
    """
    low, high = 0, len(tokens)
    while low < high:
        middle = (low + high + 1) // 2
        if len(decode(tokens[:middle])) <= position:
            low = middle
        else:
            high = middle - 1
    return low if text.startswith(decode(tokens[:low])) else None


def encoding_that_writes(encode: Encode, text: str, tokens: Sequence[int]) -> Encode | None:
    """An encoding of texts that continue a context, found by a text whose tokens there are known; None if none of the
    contexts that are tried gives these tokens.

    Args:
        encode: Text to token ids, without special tokens.
        text: A text that the model has written after the context.
        tokens: The tokens with which the model has begun to write it.
    """
    for anchor in _ANCHORS:
        first = list(encode(anchor)) if anchor else []

        def after(continuation: str, anchor: str = anchor, first: list[int] = first) -> list[int]:
            ids = list(encode(anchor + continuation))
            return ids[len(first) :] if ids[: len(first)] == first else []

        wanted = after(text)
        if wanted and list(tokens[: len(wanted)]) == wanted:
            return after
    return None
