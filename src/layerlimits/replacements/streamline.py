"""One layer trained to do what a whole block did."""

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

# Positions a step: small batches make more steps of the same text, and came out ahead on the bundled model.
_STEP_TOKENS = 512
# Streams kept from one epoch to the next, in bytes; more are computed again in each.
_KEEP_BYTES = 1 << 31


def streamline(context: ReplacementContext, *, epochs: int = 16, learning_rate: float = 1e-3) -> dict[str, Any]:
    """Train the layer before the gap to do the work of the gap too; it starts from its own weights.

    min over theta of  mean over real tokens of |f_theta(h_in) - h_out|^2 / D

    f_theta is the layer before the gap, h_in (N, T, D) the stream that enters it and h_out the one that leaves the
    gap's last layer, before the final norm, both of the unpruned model. AdamW without weight decay, in float32, the
    learning rate falling to 0 along a cosine, gradients clipped to norm 1, batches in an order drawn from the seed.

    Raises:
        UserError: removed layers that are not one block, a block at layer 0, or a loss that is not finite.
    Source: LLM-Streamline, arXiv 2403.19135
    Cost: a forward pass over the calibration text, and each epoch one through a single layer and back
    """
    before, last = _block(context)
    if epochs < 0 or not learning_rate > 0:
        raise UserError(
            f"epochs = {epochs}, learning_rate = {learning_rate:g}", "set epochs to 0 or more, learning_rate above 0"
        )
    layer = find_stack(context.model).layers[before]
    lessons = _Lessons(context, before, last)
    student = twin(layer)
    start = _loss(student, lessons)
    context.on_progress(1 / (epochs + 1))
    _train(student, lessons, context, epochs, learning_rate)
    end = _loss(student, lessons) if epochs else start
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            parameter.copy_(student.get_parameter(name))
    return {
        "layer": before,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "tokens": lessons.tokens,
        "loss_before": start,
        "loss_after": end,
    }


def _block(context: ReplacementContext) -> tuple[int, int]:
    """The layer before the one gap, and the gap's last."""
    gaps = context.gaps_after_a_layer("streamline")
    if len(gaps) != 1:
        listed = ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in gaps)
        raise UserError(
            f"streamline replaces one block, and the removed layers are {len(gaps)}: {listed}",
            "remove adjacent layers, or use another replacement",
        )
    return gaps[0][0] - 1, gaps[0][1]


@dataclass(frozen=True)
class _Lesson:
    """A batch as the layer meets it: `call` holds the stream that enters, `target` (N, T, D) the one to make."""

    call: Call
    target: Tensor
    mask: Tensor


class _Lessons:
    """All batches, from memory where they fit."""

    def __init__(self, context: ReplacementContext, before: int, last: int) -> None:
        self.model, self.before, self.last = context.model, before, last
        self.batches = list(context.batches(_STEP_TOKENS))
        self.tokens = sum(int(batch.mask.sum()) for batch in self.batches)
        stream = self._make(self.batches[0]).target
        size = 2 * stream.element_size() * stream.shape[-1] * sum(batch.ids.numel() for batch in self.batches)
        self.cache: dict[int, _Lesson] | None = {} if size <= _KEEP_BYTES else None

    def __iter__(self) -> Iterator[_Lesson]:
        return (self[number] for number in range(len(self.batches)))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> _Lesson:
        if self.cache is not None and number in self.cache:
            return self.cache[number]
        lesson = self._make(self.batches[number])
        if self.cache is not None:
            self.cache[number] = lesson
        return lesson

    def _make(self, batch: Batch) -> _Lesson:
        seen = observe(self.model, batch, (self.before, self.last + 1))
        return _Lesson(seen[self.before], seen[self.last + 1].stream, batch.mask)


def _error(student: nn.Module, lesson: _Lesson) -> Tensor:
    """Mean squared error over the real tokens of a batch."""
    made = lesson.call.run(student)[lesson.mask]
    return nn.functional.mse_loss(made, lesson.target[lesson.mask].float())


@torch.no_grad()
def _loss(student: nn.Module, lessons: _Lessons) -> float:
    """Mean squared error over all real tokens."""
    total = sum(float(_error(student, lesson)) * int(lesson.mask.sum()) for lesson in lessons)
    return total / lessons.tokens


@torch.enable_grad()
def _train(
    student: nn.Module, lessons: _Lessons, context: ReplacementContext, epochs: int, learning_rate: float
) -> None:
    parameters = [parameter.requires_grad_() for parameter in student.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    order = torch.Generator().manual_seed(context.seed)
    step, steps = 0, epochs * len(lessons)
    for _ in range(epochs):
        for number in torch.randperm(len(lessons), generator=order).tolist():
            optimizer.param_groups[0]["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
            loss = _error(student, lessons[number])
            if not loss.isfinite():
                raise UserError(f"streamline's loss is {float(loss)} at step {step}", "lower learning_rate")
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
        context.on_progress(1 / (epochs + 1))
