"""One pass over the calibration text, which gives the scores of both block_influence and angular."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from layerlimits.errors import UserError
from layerlimits.methods import Context
from layerlimits.models.stream import batches, watching


def similarity(context: Context, method: str) -> dict[str, Any]:
    """Similarity of the residual streams h_0..h_L, in float64.

    Returns:
        "turn": (L,) mean over real tokens of cos(h_l, h_{l+1});
        "angles": (L+1, L+1) mean over texts of arccos(cos(h_l, h_m)) / pi at the last real token.
    Raises:
        UserError: The calibration text contains no token.
    """
    if not any(context.calibration.ids):
        raise UserError(f"{method}: the calibration text contains no token", "use calibration text that is not empty")
    with context.progress() as report:
        streams: dict[str, Any] = context.cached("similarity of streams", lambda: _measure(context, report))
    return streams


@torch.no_grad()
def _measure(context: Context, report: Callable[[float], None]) -> dict[str, list[Any]]:
    model, texts = context.model, context.calibration.ids
    turn = torch.zeros(context.depth, dtype=torch.float64)
    angles = torch.zeros(context.depth + 1, context.depth + 1, dtype=torch.float64)
    tokens = sum(map(len, texts))
    for batch in batches(model, texts):
        statistics = _StreamStatistics(batch.mask)
        with watching(model, statistics):
            # Only the stream is needed, so the output head is skipped.
            model.base_model(**batch.inputs)
        turn += torch.stack(statistics.cosines).cpu()
        angles += statistics.angles().cpu()
        report(int(batch.mask.sum()) / tokens)
    texts_read = sum(1 for text in texts if text)
    return {"turn": (turn / tokens).tolist(), "angles": (angles / texts_read).tolist()}


class _StreamStatistics:
    """Statistics of a batch's streams: sums of cosines, and the direction of the last token after each layer."""

    def __init__(self, mask: Tensor) -> None:
        self._mask = mask
        self._lasts = (mask.sum(1) - 1)[:, None, None]
        self._before: tuple[Tensor, Tensor] | None = None
        self._directions: list[Tensor] = []
        self.cosines: list[Tensor] = []

    def __call__(self, layer: int, stream: Tensor) -> None:
        wide = stream.double()
        norm = torch.linalg.vector_norm(wide, dim=-1)
        if self._before is not None:
            before, before_norm = self._before
            cosines = torch.linalg.vecdot(before, wide) / (before_norm * norm)
            self.cosines.append(cosines.where(self._mask, 0).sum())
        self._before = (wide, norm)
        last = stream.gather(1, self._lasts.expand(-1, -1, stream.shape[-1]))[:, 0].double()
        self._directions.append(torch.nn.functional.normalize(last, dim=-1))

    def angles(self) -> Tensor:
        """Sum over texts of the angles between all streams, divided by pi, (L+1, L+1)."""
        directions = torch.stack(self._directions, 1)
        # Rounding can push a cosine slightly above 1, where arccos is undefined.
        return (directions @ directions.mT).clamp(-1, 1).arccos().sum(0) / torch.pi
