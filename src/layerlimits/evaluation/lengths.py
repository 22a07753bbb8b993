"""How long the answers will be that are being written: a Kaplan-Meier estimate from those that have ended."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from layerlimits.types import FinishReason

# Reading a token of a prompt, divided by writing a token: variants share half of the layers while they read.
_READING = 0.5
# Only rounding makes a share of answers smaller than this.
_LEAST = 1e-9


class AnswerLengths:
    """Lengths of the answers to a task.

    Args:
        limit: maximum length in tokens.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # Number of answers by length: all that have ended or been cut off, and those that ended by themselves.
        self._all = np.zeros(limit + 2)
        self._ended = np.zeros(limit + 2)

    def add(self, answers: Iterable[tuple[int, FinishReason]]) -> None:
        """Add finished answers."""
        for tokens, finish in answers:
            length = min(tokens, self.limit)
            self._all[length] += 1
            self._ended[length] += finish == "stop"

    def expected(self, lengths: Sequence[int]) -> list[float]:
        """Expected final lengths of answers that have these lengths now.

        The share of answers that reach a length is the product, over all shorter lengths, of the share of answers that
        go on there. Beyond the longest answer so far, half of the tokens left are expected.
        """
        running = np.bincount(np.minimum(lengths, self.limit), minlength=self.limit + 2)
        at_risk = (self._all + running)[::-1].cumsum()[::-1]
        reached: NDArray[np.float64] = np.cumprod(1 - self._ended / np.maximum(at_risk, 1))
        longest = int(at_risk.nonzero()[0][-1]) if at_risk.any() else 0
        left = self.limit - longest
        if left > 0:
            reached[longest : self.limit] *= np.linspace(1, 0, left, endpoint=False)
        # Tokens after each length, if `reached[n]` is the share of answers with more than n tokens.
        after = np.append(reached[: self.limit][::-1].cumsum()[::-1], 0.0)
        return [length + float(after[length] / max(reached[length], _LEAST)) for length in lengths]


def part_done(prompt_tokens: int, read_frac: float, tokens: int, expected: float, begun: int = 0) -> float:
    """Part of the work of a response that has been done, between 0 and 1.

    Args:
        prompt_tokens: length of the prompt.
        read_frac: share of it that has been read.
        tokens: tokens written so far.
        expected: expected final number of tokens; 0 if the response has none.
        begun: first tokens that an interrupted call has written. They are read like a prompt.
    """
    read = prompt_tokens * read_frac + min(tokens, begun)
    written = max(0, tokens - begun)
    left = max(0.0, expected - max(tokens, begun))
    whole = _READING * (prompt_tokens + begun) + written + left
    return (_READING * read + written) / max(_LEAST, whole)
