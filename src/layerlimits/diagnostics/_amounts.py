"""Words of findings that are no shares: amounts with their interval, and why a probe has no answers."""

from layerlimits.types import Estimate


def amount(value: Estimate, unit: str = "") -> str:
    """An estimate with its interval, for sentences: -0.52 nats (-0.7 to -0.31, n = 48)."""
    numbers = (f"{number:.3g}" for number in (value.estimate, value.low, value.high))
    estimate, low, high = numbers
    return f"{estimate} {unit}".rstrip() + f" ({low} to {high}, n = {value.n})"


def not_asked(probe: str) -> str:
    """Why there are no answers to a probe."""
    return f"the run has no answers to {probe}, which `layerlimits study` asks after pruning"
