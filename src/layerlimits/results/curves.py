"""Rows on recovery: classes, and curves of scores against trained tokens by task and class with their projections."""

from dataclasses import dataclass

from layerlimits.statistics.projection import Backtest, Saturation
from layerlimits.types import Estimate, Kind


@dataclass(frozen=True)
class RegainedClass:
    """Mean scores over the tasks of a class unpruned, pruned and finetuned; see `rows.Regained`.

    `retention` is the finetuned model's, corrected for chance; None if it is not measurable.
    """

    kind: Kind
    tasks: tuple[str, ...]
    base: Estimate
    pruned: Estimate
    recovered: Estimate
    regained: Estimate | None
    change: Estimate
    retention: Estimate | None = None


@dataclass(frozen=True)
class CurvePoint:
    """A milestone of a line; `retention` is None if the unpruned model's scores on its items are not stored."""

    tokens: int
    score: Estimate
    retention: Estimate | None


@dataclass(frozen=True)
class CurveLine:
    """The scores of a task on select items, or the mean over the tasks of a class, against trained tokens.

    Args:
        name: The task, or the class.
        tasks: The task, or the tasks of the class.
        points: One per milestone; 0 tokens is the pruned model.
        saturation: What the curve says about more training.
        backtest: How well its first half would have projected its end.
    """

    name: str
    tasks: tuple[str, ...]
    points: tuple[CurvePoint, ...]
    saturation: Saturation
    backtest: Backtest


@dataclass(frozen=True)
class LossPoint:
    """Mean losses at a milestone, on the training rows since the last one and on rows that are held out."""

    tokens: int
    train: float
    heldout: float


@dataclass(frozen=True)
class RecoveryCurve:
    """A finetuning, evaluated on select items at milestones of trained tokens."""

    lines: tuple[CurveLine, ...]
    losses: tuple[LossPoint, ...]
