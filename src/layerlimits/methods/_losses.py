"""Calibration loss with layers removed, cached in the run folder and shared by perplexity, sleb and interaction."""

import math
from collections.abc import Callable, Iterable, Sequence

from layerlimits.errors import UserError
from layerlimits.methods import Context, finite
from layerlimits.models.losses import losses_without
from layerlimits.models.remove import without_layers


def losses(context: Context, removed: tuple[int, ...], left: Sequence[int], share: float = 1.0) -> dict[int, float]:
    """Mean loss per token without `removed` and one more layer, for each layer in `left` (base model's numbering).

    Args:
        share: Fraction of the method's work that this call makes up.
    Raises:
        UserError: There is no token to predict, or a loss is not a number.
    """
    name = f"losses without {sorted(removed)} and each of {list(left)}"
    with context.progress(share) as report:
        measured = context.cached(name, lambda: _measure(context, removed, left, report))
    return dict(zip(left, restored(measured), strict=True))


def stored(values: Iterable[float]) -> list[float | None]:
    """Losses as JSON values: None for infinity, which JSON cannot represent.

    Raises:
        UserError: A loss is NaN.
    """
    losses = list(values)
    wrong = [value for value in losses if math.isnan(value)]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(losses)} losses on the calibration text are not numbers",
            "use float32, check the checkpoint's weights for NaN or inf, or use different calibration text",
        )
    return [finite(value) for value in losses]


def restored(values: Iterable[float | None]) -> list[float]:
    """The inverse of `stored`: losses from JSON values."""
    return [math.inf if value is None else value for value in values]


def _measure(
    context: Context, removed: tuple[int, ...], left: Sequence[int], report: Callable[[float], None]
) -> list[float | None]:
    remaining = [layer for layer in range(context.depth) if layer not in removed]
    with without_layers(context.model, removed) as model:
        places = [remaining.index(layer) for layer in left]
        _, measured = losses_without(model, context.calibration.texts, places, report)
    return stored(measured.values())
