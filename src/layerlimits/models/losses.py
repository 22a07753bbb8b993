"""The loss of a model without each of its layers, from one pass a batch that all removals share."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.replay import Pass
from layerlimits.models.stream import Batch, batches
from layerlimits.types import Text

Tick = Callable[[float], None]


@torch.no_grad()
def losses_without(
    model: PreTrainedModel, texts: Sequence[Text], layers: Sequence[int], tick: Tick = lambda share: None
) -> tuple[float, dict[int, float]]:
    """Mean negative log-likelihood a token, in nats: of the model as it is, and without each of `layers` alone.

    Layers count in the model as it is now. A token's loss is float32, sums are float64.

    Args:
        tick: called with the share of the work just done; the shares add up to 1.
    Raises:
        UserError: no token to predict.
    """
    whole, without = 0.0, dict.fromkeys(layers, 0.0)
    tokens = _predicted(texts)
    for batch in batches(model, [text.ids if text.predicted else () for text in texts]):
        run = Pass(model, batch)
        whole += float(summed_loss(run.logits, batch, texts))
        for layer in layers:
            without[layer] += float(summed_loss(run.logits_without(layer), batch, texts))
        tick(_share(batch, texts, tokens))
    return whole / tokens, {layer: total / tokens for layer, total in without.items()}


@torch.no_grad()
def pair_losses(
    model: PreTrainedModel, texts: Sequence[Text], layers: Sequence[int], tick: Tick = lambda share: None
) -> tuple[float, dict[int, float], dict[tuple[int, int], float]]:
    """As `losses_without`, and without each pair (i < j) of `layers`: about L^2 / 6 forward passes in all.

    Raises:
        UserError: no token to predict.
    """
    order = sorted(layers)
    pairs = [(i, j) for at, i in enumerate(order) for j in order[at + 1 :]]
    whole, alone, both = 0.0, dict.fromkeys(order, 0.0), dict.fromkeys(pairs, 0.0)
    tokens = _predicted(texts)
    for batch in batches(model, [text.ids if text.predicted else () for text in texts]):
        run = Pass(model, batch)
        whole += float(summed_loss(run.logits, batch, texts))
        for at, i in enumerate(order):
            with run.without(i) as rest:
                alone[i] += float(summed_loss(rest.logits, batch, texts))
                for j in order[at + 1 :]:
                    # Without layer i, layer j stands one place lower.
                    both[i, j] += float(summed_loss(rest.logits_without(j - 1), batch, texts))
        tick(_share(batch, texts, tokens))
    return (
        whole / tokens,
        {layer: total / tokens for layer, total in alone.items()},
        {pair: total / tokens for pair, total in both.items()},
    )


def _predicted(texts: Sequence[Text]) -> int:
    tokens = sum(text.predicted for text in texts)
    if not tokens:
        raise UserError(
            f"{len(texts)} calibration texts hold no token to predict", "give text of at least two tokens an item"
        )
    return tokens


def _share(batch: Batch, texts: Sequence[Text], tokens: int) -> float:
    return sum(texts[row].predicted for row in batch.rows) / tokens


def summed_loss(logits: Tensor, batch: Batch, texts: Sequence[Text]) -> Tensor:
    """Sum over the tokens that count of their negative log-likelihoods, float64: logits (N, T, V)."""
    starts = torch.tensor([texts[row].start for row in batch.rows], device=batch.ids.device)
    places = torch.arange(1, batch.ids.shape[1], device=batch.ids.device)
    counts = batch.mask[:, 1:] & (places[None] >= starts[:, None])
    # Only the rows that count pay for the softmax over the vocabulary.
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1][counts].float(), batch.ids[:, 1:][counts], reduction="none"
    )
    return losses.double().sum()
