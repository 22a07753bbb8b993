"""How many guessed tokens of each row a step verifies: as many as give the most tokens per second."""

from collections.abc import Callable, Collection, Sequence

import numpy as np

# Seconds of steps with these numbers of tokens and of rows of logits.
Seconds = Callable[[np.ndarray, np.ndarray], np.ndarray]

# Maximum number of guessed tokens per row.
MAX_GUESS = 32
# Probability that the first token of a guess is right, before any has been verified, and how many observations that
# counts as. A later token is taken to be as good as the one before it until it has been observed.
_FIRST_RATE, _PRIOR = 0.6, 2.0
# Weight of the observations of a step relative to the next one's.
_DECAY = 0.95


class GuessLength:
    """Chooses the length of guesses from their recent acceptance and from what a step costs.

    Args:
        seconds: what steps cost.
        max_tokens: maximum number of tokens of a step, unless it has more rows.
    """

    def __init__(self, seconds: Seconds, max_tokens: int) -> None:
        self._seconds, self._max_tokens = seconds, max_tokens
        # How often the tokens before a place of a guess were right, and how often that place was right, too.
        self._tried, self._right = np.zeros(MAX_GUESS), np.zeros(MAX_GUESS)

    def can_pay(self, rows: int) -> bool:
        """Whether guesses pay in a step of this many rows if every row has one and all of it is right."""
        return self.choose(rows, [MAX_GUESS] * rows, np.ones(MAX_GUESS)) > 0

    def choose(self, rows: int, available: Collection[int], rates: np.ndarray | None = None) -> int:
        """The number of guessed tokens to verify per row, at most; 0 if guesses cost more than they can save.

        Args:
            rows: number of rows in the step.
            available: lengths of the available guesses.
            rates: probability that a token is right if those before it are, by its place in the guess; None: by what
                was recorded.
        """
        longest = max(available, default=0)
        if not longest:
            return 0
        having = np.array(sorted(available))
        # How many guesses reach each length, (longest,).
        reaching = len(having) - np.searchsorted(having, np.arange(1, longest + 1))
        right = np.cumprod((self.rates() if rates is None else rates)[:longest])
        lengths = np.arange(longest + 1)
        tokens, logits = rows * (1 + lengths), rows + np.concatenate([[0], np.cumsum(reaching)])
        gained = rows + np.concatenate([[0.0], np.cumsum(reaching * right)])
        allowed = (tokens <= self._max_tokens) | (lengths == 0)
        return int(np.argmax(np.where(allowed, gained / self._seconds(tokens, logits), 0)))

    def rates(self) -> np.ndarray:
        """Probability that a token is right if those before it are, by its place in the guess, (MAX_GUESS,)."""
        rates, rate = np.empty(MAX_GUESS), _FIRST_RATE
        for place, (right, tried) in enumerate(zip(self._right, self._tried, strict=True)):
            rates[place] = rate = (right + _PRIOR * rate) / (tried + _PRIOR)
        return rates

    def record(self, verified: Sequence[tuple[int, int]]) -> None:
        """Learn from a step: for each guess its length, and how many of its first tokens were right."""
        self._tried *= _DECAY
        self._right *= _DECAY
        for length, right in verified:
            self._right[:right] += 1
            self._tried[: min(length, right + 1)] += 1
