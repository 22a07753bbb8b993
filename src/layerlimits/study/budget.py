"""The wall time that a study may use, and its division among the stages that are still to come."""

import time
from collections.abc import Callable

from layerlimits.errors import UserError
from layerlimits.progress import duration

# Shares of the stages; a stage gets its part of the time that is left when it starts.
_SHARES = {"base": 0.32, "sweep": 0.30, "rank": 0.15, "prune": 0.25, "diagnose": 0.08, "recover": 0.20, "speed": 0.05}
# Time kept for the results and the report.
_RESERVE_S = 8.0
_RESERVE_SHARE = 0.04
# The probe takes at most this long, and at most this part of the budget.
PROBE_S = 60.0
PROBE_SHARE = 0.1
# Loading a model and probing it takes at least this long.
_MIN_S = 30.0


class Clock:
    """Wall time of a command and its parts.

    Args:
        budget: Seconds for all commands on a run folder together.
        spent: Seconds that former commands on the run folder have used.
        began: Time at which this command started, by the same clock as `now`; see `steady`.
        now: The current time, of a clock that is never set; replaced in tests.
    """

    def __init__(self, budget: float, spent: float, began: float, now: Callable[[], float] = time.monotonic) -> None:
        self.budget, self._before, self._began, self._now = budget, spent, began, now

    @property
    def spent(self) -> float:
        """Seconds used so far, by this command and former ones."""
        return self._before + max(0.0, self._now() - self._began)

    @property
    def left(self) -> float:
        """Seconds until measuring must end."""
        return self.budget - max(_RESERVE_S, _RESERVE_SHARE * self.budget) - self.spent

    def share(self, stage: str, coming: tuple[str, ...]) -> float:
        """Seconds that a stage may use if the stages in `coming` follow it; 0 if nothing is left."""
        weights = sum(_SHARES[name] for name in (stage, *coming))
        return max(0.0, self.left) * _SHARES[stage] / weights


def steady(began: float) -> float:
    """A time in seconds since the epoch by the clock that is never set; the future counts as now."""
    return time.monotonic() - max(0.0, time.time() - began)


def check_budget(budget: float | None) -> None:
    """Check that a budget is long enough to load and probe a model.

    Raises:
        UserError: It is not.
    """
    if budget is not None and budget < _MIN_S:
        raise UserError(
            f"a budget of {duration(budget)} is shorter than the probe of the model, which takes up to "
            f"{duration(_MIN_S)} with loading",
            "set --budget to 5m or more, or omit it",
        )


def probe_seconds(budget: float | None) -> float:
    """Seconds that a probe may take."""
    return PROBE_S if budget is None else min(PROBE_S, PROBE_SHARE * budget)
