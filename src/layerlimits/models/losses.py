"""The loss of a model without each of its layers; all removals share one forward pass per batch."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.models.replay import Pass
from layerlimits.models.stream import Batch, batches
from layerlimits.types import Text

Progress = Callable[[float], None]


@torch.no_grad()
def losses_without(
    model: PreTrainedModel, texts: Sequence[Text], layers: Sequence[int], on_progress: Progress = lambda share: None
) -> tuple[float, dict[int, float]]:
    """Mean negative log-likelihood per token in nats, of the model and of the model without each of `layers`.

    Layers are numbered as in the current state of the model. Losses of tokens are float32, sums are float64.

    Args:
        on_progress: called with the share of the work just completed; the shares add up to 1.
    Raises:
        UserError: there is no token to predict.
    """
    whole, without = 0.0, dict.fromkeys(layers, 0.0)
    tokens = _predicted(texts)
    for batch in batches(model, [text.ids if text.predicted else () for text in texts]):
        run = Pass(model, batch)
        whole += float(summed_loss(run.logits, batch, texts))
        for layer in layers:
            without[layer] += float(summed_loss(run.logits_without(layer), batch, texts))
        on_progress(_share(batch, texts, tokens))
    return whole / tokens, {layer: total / tokens for layer, total in without.items()}


@torch.no_grad()
def pair_losses(
    model: PreTrainedModel, texts: Sequence[Text], layers: Sequence[int], on_progress: Progress = lambda share: None
) -> tuple[float, dict[int, float], dict[tuple[int, int], float]]:
    """As `losses_without`, and also without each pair (i < j) of `layers`; about L^2 / 6 forward passes in total.

    Raises:
        UserError: there is no token to predict.
    """
    order = sorted(layers)
    pairs = [(i, j) for index, i in enumerate(order) for j in order[index + 1 :]]
    whole, single, both = 0.0, dict.fromkeys(order, 0.0), dict.fromkeys(pairs, 0.0)
    tokens = _predicted(texts)
    for batch in batches(model, [text.ids if text.predicted else () for text in texts]):
        run = Pass(model, batch)
        whole += float(summed_loss(run.logits, batch, texts))
        for index, i in enumerate(order):
            with run.without(i) as rest:
                single[i] += float(summed_loss(rest.logits, batch, texts))
                for j in order[index + 1 :]:
                    # Without layer i, layer j has number j - 1.
                    both[i, j] += float(summed_loss(rest.logits_without(j - 1), batch, texts))
        on_progress(_share(batch, texts, tokens))
    return (
        whole / tokens,
        {layer: total / tokens for layer, total in single.items()},
        {pair: total / tokens for pair, total in both.items()},
    )


def _predicted(texts: Sequence[Text]) -> int:
    tokens = sum(text.predicted for text in texts)
    if not tokens:
        raise UserError(
            f"the calibration text contains no token to predict (items: {len(texts)})",
            "use texts of at least two tokens",
        )
    return tokens


def _share(batch: Batch, texts: Sequence[Text], tokens: int) -> float:
    return sum(texts[row].predicted for row in batch.rows) / tokens


def summed_loss(logits: Tensor, batch: Batch, texts: Sequence[Text]) -> Tensor:
    """Sum of the negative log-likelihoods of the tokens that count, float64, for logits (N, T, V)."""
    starts = torch.tensor([texts[row].start for row in batch.rows], device=batch.ids.device)
    places = torch.arange(1, batch.ids.shape[1], device=batch.ids.device)
    counts = batch.mask[:, 1:] & (places[None] >= starts[:, None])
    # The softmax over the vocabulary is computed only for these.
    losses = torch.nn.functional.cross_entropy(
        logits[:, :-1][counts].float(), batch.ids[:, 1:][counts], reduction="none"
    )
    return losses.double().sum()
