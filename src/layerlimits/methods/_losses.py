"""The calibration text's loss without layers, kept in the run folder: perplexity, sleb and interaction share it."""

from collections.abc import Callable, Sequence

from layerlimits.methods import Context
from layerlimits.models.losses import losses_without
from layerlimits.models.remove import without_layers


def losses(context: Context, removed: tuple[int, ...], left: Sequence[int], share: float = 1.0) -> dict[int, float]:
    """Mean loss a token without `removed` and one more layer, for each of `left`; base numbering.

    Args:
        share: of the method's work that this is.
    Raises:
        UserError: no token to predict.
    """
    name = f"losses without {sorted(removed)} and each of {list(left)}"
    with context.progress(share) as report:
        measured = context.cached(name, lambda: _measure(context, removed, left, report))
    return dict(zip(left, measured, strict=True))


def _measure(
    context: Context, removed: tuple[int, ...], left: Sequence[int], report: Callable[[float], None]
) -> list[float]:
    kept = [layer for layer in range(context.depth) if layer not in removed]
    with without_layers(context.model, removed) as model:
        places = [kept.index(layer) for layer in left]
        _, measured = losses_without(model, context.calibration.texts, places, report)
    return list(measured.values())
