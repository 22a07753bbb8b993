"""Evaluation of a model while it trains: losses and scores against trained tokens, and its best weights."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, TrainerCallback

from layerlimits.recovery.context import CurvePlan, best_point
from layerlimits.recovery.rows import IGNORED, Row
from layerlimits.recovery.watching import LossMeter, ModelSettings

# Of the entries in the history of transformers' trainer, which is saved with each checkpoint.
_POINT, _LOSS = "layerlimits_point", "layerlimits_loss"
# The best weights of the two checkpoints that are kept.
_KEPT = 2


class CurveCallback(TrainerCallback):
    """Evaluates the model at the milestones, requests a checkpoint at each, and keeps the best weights.

    Everything is stored in the history of the trainer's state, so that a resumed training has the points up to its
    checkpoint and computes the later ones again.

    Args:
        plan: What is evaluated, and when.
        rows: The rows of the held-out examples.
        tokens_by_step: Number of trained tokens after each step, cumulative.
        key: Identifies the training.
        work: Folder for the best weights.
        meter: The losses of the steps.
        settings: The model's settings of before the training, with which it is evaluated.
    """

    def __init__(
        self,
        plan: CurvePlan,
        rows: Sequence[Row],
        tokens_by_step: Sequence[int],
        key: str,
        work: Path,
        meter: LossMeter,
        settings: ModelSettings,
    ) -> None:
        self._plan, self._rows, self._tokens = plan, rows, tokens_by_step
        self._key, self._work, self._meter, self._settings = key, work, meter, settings
        self._milestones = set(plan.steps(tokens_by_step))
        self._untrained: dict[str, Any] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer before the first step, after it has read the checkpoint."""
        if state.global_step == 0:
            self._untrained = self._measure(kwargs["model"], 0)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after each optimizer step."""
        step, loss = state.global_step, self._meter.last
        if self._untrained is not None:
            # The loss of the first step is that of the untrained model.
            state.log_history.append({_POINT: {**self._untrained, "train_loss": loss}, "step": 0})
            self._untrained = None
        state.log_history.append({_LOSS: loss, "step": step})
        if step in self._milestones:
            recent = takewhile(lambda entry: _LOSS in entry, reversed(state.log_history))
            train_loss = fmean(entry[_LOSS] for entry in recent)
            point = {**self._measure(kwargs["model"], step), "train_loss": train_loss}
            state.log_history.append({_POINT: point, "step": step})
            self._keep_if_best(kwargs["model"], points_of(state), step)
            control.should_save = step < state.max_steps

    def restore_best(self, model: PreTrainedModel, state: Any) -> int | None:
        """Give the trained model the weights of the best milestone; returns their number of trained tokens."""
        points = points_of(state)
        best = best_point(points)
        if best is None:
            return None
        steps = [entry["step"] for entry in state.log_history if _POINT in entry]
        if steps[best] != state.global_step:
            weights, trained = load_file(self._file(steps[best])), _trained(model)
            with torch.no_grad():
                for name, parameter in trained.items():
                    parameter.copy_(weights[name])
        return int(points[best]["tokens"])

    def _keep_if_best(self, model: PreTrainedModel, points: list[dict[str, Any]], step: int) -> None:
        if best_point(points) != len(points) - 1:
            return
        save_file({name: value.detach().contiguous() for name, value in _trained(model).items()}, self._file(step))
        files = sorted(self._work.glob("best-*.safetensors"), key=lambda file: int(file.stem.split("-")[1]))
        for file in files[:-_KEPT]:
            file.unlink()

    def _file(self, step: int) -> Path:
        return self._work / f"best-{step}.safetensors"

    def _measure(self, model: PreTrainedModel, step: int) -> dict[str, Any]:
        tokens = self._tokens[step - 1] if step else 0
        with self._settings.restored(), _evaluating(model) as network:
            loss = heldout_loss(network, self._rows)
            scores = self._plan.scores(network, f"{self._key}-{step}")
        return {"tokens": tokens, "heldout_loss": loss, "scores": scores}


def points_of(state: Any) -> list[dict[str, Any]]:
    """The points of the curve in the state of a trainer, in the order of training."""
    return [entry[_POINT] for entry in state.log_history if _POINT in entry]


@torch.no_grad()
def heldout_loss(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    """Mean negative log-likelihood of the answers' tokens, in nats."""
    total, count = 0.0, 0
    for row in rows:
        ids = torch.tensor([row["input_ids"]], device=model.device)
        labels = torch.tensor(row["labels"][1:], device=model.device)
        logits = model(input_ids=ids).logits[0, :-1].float()
        total += float(cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return total / count


def _trained(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


@contextmanager
def _evaluating(model: Any) -> Iterator[PreTrainedModel]:
    """The model in evaluation mode, without the wrapper of PEFT; random numbers drawn inside the block do not change
    the training.
    """
    network = model.get_base_model() if hasattr(model, "get_base_model") else model
    gpus = [network.device.index or 0] if network.device.type == "cuda" else []
    python_state, numpy_state = random.getstate(), np.random.get_state()
    head: Any = network.get_output_embeddings()
    hook = head.register_forward_pre_hook(_contiguous)
    # TRL's own forward pass computes its loss; the engine copies layers of a model, and needs the original one.
    patched = network.__dict__.pop("forward", None)
    model.eval()
    try:
        with torch.random.fork_rng(devices=gpus):
            yield network
    finally:
        hook.remove()
        if patched is not None:
            network.forward = patched
        model.train()
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _contiguous(head: Any, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The head's input in contiguous memory. For the last positions of several rows, torch otherwise copies frozen
    weights once for each row (272 MB with a vocabulary of 151,936).
    """
    return (given[0].contiguous(), *given[1:])
