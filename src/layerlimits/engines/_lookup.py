"""Guesses of what comes next, looked up in a text that an answer resembles: the base's answer, or the prompt itself."""

from collections.abc import Sequence

# So many tokens must agree before what followed them is tried; the longer, the fewer guesses and the better.
_GRAM = 3


class Lookup:
    """A text by what follows each of its n-grams (prompt lookup; Yang et al., arXiv 2304.04487)."""

    def __init__(self, text: Sequence[int]) -> None:
        self._text = list(text)
        # Where an n-gram comes again, its last place counts: the answer stands behind the prompt.
        self._after = {tuple(text[at - _GRAM : at]): at for at in range(_GRAM, len(text))}

    def ahead(self, tail: Sequence[int], most: int) -> list[int]:
        """Up to `most` tokens that followed the end of `tail` in the text; none where it is not there."""
        at = self._after.get(tuple(tail[-_GRAM:]))
        return [] if at is None or most < 1 else self._text[at : at + most]
