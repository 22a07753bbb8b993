"""Guesses of the next tokens, looked up in texts that an answer resembles: the answer itself, its prompt, the base's
answer.
"""

from collections.abc import Sequence

# Number of tokens that must agree before the tokens after them are guessed. Longer: fewer, but better guesses.
_GRAM = 3


class Lookup:
    """The tokens that follow each n-gram of a growing text (prompt lookup; Yang et al., arXiv 2304.04487)."""

    def __init__(self, text: Sequence[int] = ()) -> None:
        self._text: list[int] = []
        # The last occurrence of an n-gram counts: the answer comes after the prompt.
        self._after: dict[tuple[int, ...], int] = {}
        self.extend(text)

    def extend(self, tokens: Sequence[int]) -> None:
        """Append tokens."""
        for token in tokens:
            if len(self._text) >= _GRAM:
                self._after[tuple(self._text[-_GRAM:])] = len(self._text)
            self._text.append(token)

    def ahead(self, tail: Sequence[int], max_tokens: int) -> list[int]:
        """Up to `max_tokens` tokens that followed the end of `tail` in the text; empty if it does not occur there."""
        start = self._after.get(tuple(tail[-_GRAM:]))
        if start is None or max_tokens < 1:
            return []
        guess = self._text[start : start + max_tokens]
        if self._text[-_GRAM:] == list(tail[-_GRAM:]):
            # The guess starts at the end of the text: repeat the loop, which is common in pruned models.
            period = len(self._text) - start
            while len(guess) < max_tokens:
                guess.append(guess[-period])
        return guess
