"""Trains one layer to replace a block of layers."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from layerlimits.errors import UserError
from layerlimits.models.probe import Call, observe, twin
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import Batch
from layerlimits.replacements import ReplacementContext

# Positions per step: smaller batches give more steps on the same text, and worked better on the bundled model.
_STEP_TOKENS = 512
# Streams up to this size in bytes are cached between epochs; larger ones are recomputed.
_CACHE_BYTES = 1 << 31


def streamline(context: ReplacementContext, *, epochs: int = 16, learning_rate: float = 1e-3) -> dict[str, Any]:
    """Train the layer before the gap to replace the gap as well, starting from its own weights.

    min over theta of  mean over real tokens of |f_theta(h_in) - h_out|^2 / D

    f_theta is the layer before the gap, h_in (N, T, D) the stream entering it, and h_out the stream leaving the gap's
    last layer, before the final norm; both are streams of the unpruned model. Training uses AdamW in float32 without
    weight decay, a cosine learning-rate schedule to 0, gradient clipping to norm 1, and a batch order drawn from the
    seed.

    Raises:
        UserError: The removed layers are not one block, the block starts at layer 0, or the loss is not finite.
    Source: LLM-Streamline, arXiv 2403.19135
    Cost: one forward pass over the calibration text, and one forward and backward pass of a single layer per epoch
    """
    before, last = _block(context)
    if epochs < 0 or not learning_rate > 0:
        raise UserError(
            f"streamline: invalid epochs = {epochs} or learning_rate = {learning_rate:g}",
            "set epochs to 0 or more and learning_rate above 0",
        )
    layer = find_stack(context.model).layers[before]
    data = _TrainingData(context, before, last)
    student = twin(layer)
    start = _loss(student, data)
    context.on_progress(1 / (epochs + 1))
    _train(student, data, context, epochs, learning_rate)
    end = _loss(student, data) if epochs else start
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(student.get_parameter(name))
    return {
        "layer": before,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "tokens": data.tokens,
        "loss_before": start,
        "loss_after": end,
    }


def _block(context: ReplacementContext) -> tuple[int, int]:
    """The layer before the only gap, and the last layer of the gap."""
    gaps = context.gaps_after_a_layer("streamline")
    if len(gaps) != 1:
        listed = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in gaps)
        raise UserError(
            f"streamline replaces one block, but the removed layers form {len(gaps)} blocks: {listed}",
            "remove adjacent layers, or use a different replacement",
        )
    return gaps[0][0] - 1, gaps[0][1]


@dataclass(frozen=True)
class _TrainingBatch:
    """A training batch of the layer: `call` has the input stream, `target` (N, T, D) is the output stream to match."""

    call: Call
    target: Tensor
    mask: Tensor


class _TrainingData:
    """All training batches, cached in memory if they fit."""

    def __init__(self, context: ReplacementContext, before: int, last: int) -> None:
        self.model, self.before, self.last = context.model, before, last
        self.batches = list(context.batches(_STEP_TOKENS))
        self.tokens = sum(int(batch.mask.sum()) for batch in self.batches)
        stream = self._make(self.batches[0]).target
        size = 2 * stream.element_size() * stream.shape[-1] * sum(batch.ids.numel() for batch in self.batches)
        self.cache: dict[int, _TrainingBatch] | None = {} if size <= _CACHE_BYTES else None

    def __iter__(self) -> Iterator[_TrainingBatch]:
        return (self[number] for number in range(len(self.batches)))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> _TrainingBatch:
        if self.cache is not None and number in self.cache:
            return self.cache[number]
        batch = self._make(self.batches[number])
        if self.cache is not None:
            self.cache[number] = batch
        return batch

    def _make(self, batch: Batch) -> _TrainingBatch:
        seen = observe(self.model, batch, (self.before, self.last + 1))
        return _TrainingBatch(seen[self.before], seen[self.last + 1].stream, batch.mask)


def _error(student: nn.Module, batch: _TrainingBatch) -> Tensor:
    """Mean squared error over the real tokens of a batch."""
    output = batch.call.run(student)[batch.mask]
    return nn.functional.mse_loss(output, batch.target[batch.mask].float())


@torch.no_grad()
def _loss(student: nn.Module, data: _TrainingData) -> float:
    """Mean squared error over all real tokens."""
    total = sum(float(_error(student, batch)) * int(batch.mask.sum()) for batch in data)
    return total / data.tokens


@torch.enable_grad()
def _train(
    student: nn.Module, data: _TrainingData, context: ReplacementContext, epochs: int, learning_rate: float
) -> None:
    parameters = [parameter.requires_grad_() for parameter in student.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(context.seed)
    step, steps = 0, epochs * len(data)
    for _ in range(epochs):
        for number in torch.randperm(len(data), generator=order).tolist():
            optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            loss = _error(student, data[number])
            if not loss.isfinite():
                raise UserError(f"streamline: the loss is {float(loss)} at step {step}", "lower learning_rate")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
        context.on_progress(1 / (epochs + 1))
