"""Guesses of what comes next, looked up in what an answer resembles: itself, the prompt, the base's answer."""

from collections.abc import Sequence

# So many tokens must agree before what followed them is tried; the longer, the fewer guesses and the better.
_GRAM = 3


class Lookup:
    """A growing text by what follows each of its n-grams (prompt lookup; Yang et al., arXiv 2304.04487)."""

    def __init__(self, text: Sequence[int] = ()) -> None:
        self._text: list[int] = []
        # Where an n-gram comes again, its last place counts: the answer stands behind the prompt.
        self._after: dict[tuple[int, ...], int] = {}
        self.extend(text)

    def extend(self, tokens: Sequence[int]) -> None:
        """Add tokens at the end."""
        for token in tokens:
            if len(self._text) >= _GRAM:
                self._after[tuple(self._text[-_GRAM:])] = len(self._text)
            self._text.append(token)

    def ahead(self, tail: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that followed the end of `tail` in the text; none where it is not there."""
        at = self._after.get(tuple(tail[-_GRAM:]))
        if at is None or most < 1:
            return []
        found = self._text[at : at + most]
        if self._text[-_GRAM:] == list(tail[-_GRAM:]):
            # The text ends where the guess begins: a loop, as pruned models fall into, goes on.
            period = len(self._text) - at
            while len(found) < most:
                found.append(found[-period])
        return found
