"""What a fit of a recovery curve says about more training; `saturation.py` computes it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Projection:
    """A projected score with its 90% interval."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Crossing:
    """Trained tokens at which a score is reached, with a 90% interval; None beyond 100 times the trained tokens."""

    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Saturation:
    """What a recovery curve says about more training.

    Args:
        points: Number of milestones.
        ceiling: Score after endless training.
        ten_times: Score after ten times the trained tokens.
        half: Tokens at which half of the lost score is regained; None if the lost score is unknown.
        reason: Why nothing is projected; empty if it is.
    """

    points: int
    ceiling: Projection | None
    ten_times: Projection | None
    half: Crossing | None
    reason: str = ""


@dataclass(frozen=True)
class Backtest:
    """A forecast of the end of a curve from its beginning.

    Args:
        points, tokens: The milestones that were fitted, and the tokens of the last of them.
        end_tokens, end: The last milestone, and the score that was measured there.
        forecast: The score that was projected for it; the interval is for a measurement on the same items.
        reason: Why nothing was projected; empty if it was.
    """

    points: int
    tokens: float
    end_tokens: float
    end: float
    forecast: Projection | None
    reason: str = ""

    @property
    def held(self) -> bool | None:
        """Whether the measured end lies in the 90% interval; None without a forecast."""
        return None if self.forecast is None else self.forecast.low <= self.end <= self.forecast.high
