"""What is watched while a model trains: the loss of each step, its weights, and its settings."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, TrainerCallback

from layerlimits.errors import UserError
from layerlimits.recovery.memory import MemoryWatch


class LossMeter(TrainerCallback):
    """The loss of each optimizer step, summed over the parts of its batch; training stops if it is not finite.

    Args:
        lr: Learning rate, for errors.
        work: Folder of the checkpoints, for errors.
    """

    def __init__(self, lr: float, work: Path) -> None:
        self._lr, self._work = lr, work
        self._sum: Tensor | float = 0.0
        # The loss of the last completed step.
        self.last = 0.0

    def add(self, loss: Tensor) -> None:
        """Add the loss of a part of a batch."""
        self._sum = self._sum + loss.detach()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after each optimizer step.

        Raises:
            UserError: The loss is not finite.
        """
        self.last, self._sum = float(self._sum), 0.0
        if not math.isfinite(self.last):
            raise self.diverged(f"the loss of step {state.global_step} of {state.max_steps} is {self.last}")

    def check_weights(self, model: PreTrainedModel) -> None:
        """Check that the trained weights are finite, so that a checkpoint is worth keeping.

        Raises:
            UserError: They are not.
        """
        if not all(bool(torch.isfinite(weight).all()) for weight in model.parameters() if weight.requires_grad):
            raise self.diverged("weights are not finite")

    def diverged(self, reason: str) -> UserError:
        """The error for a training that cannot go on; the last checkpoint stays."""
        saved = sorted(self._work.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
        place = f"the last good checkpoint is {saved[-1]}" if saved else "no checkpoint had been written"
        return UserError(f"finetuning with lr {self._lr:g} diverged: {reason}; {place}", "lower lr (--lr)")


class QuietTrainer:
    """A trainer without telemetry and model cards that reports the loss of each step, and watches memory on a CPU."""

    meter: LossMeter
    memory: MemoryWatch | None = None

    def training_step(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Called by the trainer for each part of a batch.

        Raises:
            RuntimeError: Memory is too small for a batch of this training.
        """
        # The class next in line is a trainer.
        step = super().training_step  # type: ignore[misc]  # a mixin before a trainer
        if self.memory:
            tokens = inputs["input_ids"].numel()
            loss = self.memory.step(lambda: step(model, inputs, *args, **kwargs), model, tokens)
        else:
            loss = step(model, inputs, *args, **kwargs)
        self.meter.add(loss)
        return loss

    def _send_telemetry(self) -> None:
        """Do nothing; TRL would send details of the training run over the network."""

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing; checkpoints are for resuming only."""


class ModelSettings:
    """The configuration of a model, which training changes (use_cache, stop tokens)."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._originals = [(about, dict(vars(about))) for about in (model.config, model.generation_config)]

    def restore(self) -> None:
        """Give the model its original settings."""
        for about, before in self._originals:
            vars(about).clear()
            vars(about).update(before)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Inside the block, the model has its original settings."""
        changed = [dict(vars(about)) for about, _ in self._originals]
        self.restore()
        try:
            yield
        finally:
            for (about, _), during in zip(self._originals, changed, strict=True):
                vars(about).clear()
                vars(about).update(during)
