"""The calibration text's loss without layers, kept in the run folder: perplexity, sleb and interaction share it."""

from collections.abc import Callable, Sequence

from layerlimits.methods import Context
from layerlimits.models.losses import losses_without
from layerlimits.models.remove import without_layers


def losses(
    context: Context, removed: tuple[int, ...], left: Sequence[int], tick: Callable[[float], None] | None = None
) -> dict[int, float]:
    """Mean loss a token without `removed` and one more layer, for each of `left`; base numbering.

    Raises:
        UserError: no token to predict.
    """
    name = f"losses without {sorted(removed)} and each of {list(left)}"
    found = context.once(name, lambda: _measure(context, removed, left, tick or context.tick))
    return dict(zip(left, found, strict=True))


def _measure(
    context: Context, removed: tuple[int, ...], left: Sequence[int], tick: Callable[[float], None]
) -> list[float]:
    kept = [layer for layer in range(context.depth) if layer not in removed]
    with without_layers(context.evaluator.loaded.model, removed) as model:
        _, found = losses_without(model, context.calibration.texts, [kept.index(layer) for layer in left], tick)
    return list(found.values())
