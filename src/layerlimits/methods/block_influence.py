"""How much each layer turns the residual stream."""

import torch
from torch import Tensor

from layerlimits.errors import UserError
from layerlimits.methods import Context, by_score
from layerlimits.models.stream import residual_streams
from layerlimits.types import Ranking


def block_influence(context: Context) -> Ranking:
    """Block influence of every layer on the calibration text; the smallest goes first.

    BI_l = 1 - mean over real tokens of cos(h_l, h_{l+1})

    h_l (T, D) is the residual stream entering layer l, h_L the one leaving the last layer before the final norm; the
    mean runs over the tokens of all texts together, cosines and sums in float64.

    Raises:
        UserError: no calibration token, or a score that is not finite.
    Source: ShortGPT, arXiv 2403.03853, eq. 1
    Cost: one forward pass over the calibration text
    """
    total = torch.zeros(context.depth, dtype=torch.float64)
    tokens = 0
    for stream, mask in residual_streams(context.evaluator.loaded.model, context.calibration.ids):
        total += cosines(stream, mask).cpu()
        tokens += int(mask.sum())
    if tokens == 0:
        raise UserError("block_influence has no calibration token", "give calibration text that is not empty")
    scores = (1 - total / tokens).tolist()
    return by_score("block_influence", scores, context.protected or (), context.calibration.hashes)


def cosines(stream: Tensor, mask: Tensor) -> Tensor:
    """Sum over real tokens of the cosine between the streams before and after each layer.

    Args:
        stream: (L+1, N, T, D).
        mask: True at real tokens, (N, T).
    Returns:
        (L,) float64.
    """
    real = stream[:, mask].double()
    return torch.nn.functional.cosine_similarity(real[:-1], real[1:], dim=-1).sum(-1)
