"""Seconds that a step takes, by the number of its tokens: measured, since it depends on the machine and the model.

With few tokens a step is bound by reading the weights, or by launching operations: further tokens cost almost nothing.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack

# Numbers of tokens that are measured, the smallest first, until the time is used up.
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_MAX_SECONDS = 0.3
_REPEATS = 5


@dataclass(frozen=True)
class StepCosts:
    """Measured costs of a pass; between the measured sizes they are interpolated, beyond them extrapolated.

    Args:
        tokens: the measured numbers of tokens, K increasing ones.
        layer_s: seconds of one layer, (K,).
        head_s: seconds of the output embedding with as many rows of logits, (K,).
    """

    tokens: Sequence[int]
    layer_s: Sequence[float]
    head_s: Sequence[float]

    def seconds(self, layers: int, tokens: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Seconds of steps through `layers` layers with these numbers of tokens and of rows of logits, (S,) each."""
        seconds: np.ndarray = layers * self._at(tokens, self.layer_s) + self._at(logits, self.head_s)
        return seconds

    def _at(self, tokens: np.ndarray, measured: Sequence[float]) -> np.ndarray:
        # Noise can make a larger pass seem quicker.
        seconds = np.minimum.accumulate(np.asarray(measured, dtype=float)[::-1])[::-1]
        largest, mean = self.tokens[-1], seconds[-1] / self.tokens[-1]
        slope = (seconds[-1] - seconds[-2]) / (largest - self.tokens[-2]) if len(seconds) > 1 else mean
        beyond = np.maximum(tokens - largest, 0) * np.clip(slope, mean / 2, mean)
        total: np.ndarray = np.interp(tokens, self.tokens, seconds) + beyond
        return total


@torch.no_grad()
def measure(model: PreTrainedModel) -> StepCosts:
    """Time the last layer and the output embedding of a model, in about 0.3 seconds."""
    deadline, sizes = time.perf_counter() + _MAX_SECONDS, list[int]()
    with without_layers(model, range(len(find_stack(model)) - 2)):
        layer, head = find_stack(model).layers[-1], model.get_output_embeddings()
        with _timed(layer) as layer_s, _timed(head) as head_s:
            # All sizes in turn, so that a busy moment does not slow down all measurements of one of them.
            for size in _SIZES * _REPEATS:
                began = time.perf_counter()
                model(input_ids=torch.zeros(size, 1, dtype=torch.long, device=model.device), use_cache=False)
                sizes.append(size)
                ended = time.perf_counter()
                # The next size takes at most twice as long.
                if ended + 2 * (ended - began) > deadline:
                    break
    return StepCosts(_SIZES[: len(sizes)], _shortest(sizes, layer_s), _shortest(sizes, head_s))


def _shortest(sizes: Sequence[int], seconds: Sequence[float]) -> tuple[float, ...]:
    """The shortest time of each different size, in their order."""
    pairs = list(zip(sizes, seconds, strict=True))
    return tuple(min(taken for other, taken in pairs if other == size) for size in dict.fromkeys(sizes))


@contextmanager
def _timed(module: nn.Module) -> Iterator[list[float]]:
    """Inside the block, the list fills with the seconds of each call of a module."""
    seconds: list[float] = []
    began = 0.0

    def before(*_: Any) -> None:
        nonlocal began
        _wait()
        began = time.perf_counter()

    def after(*_: Any) -> None:
        _wait()
        seconds.append(time.perf_counter() - began)

    with ExitStack() as stack:
        stack.callback(module.register_forward_pre_hook(before).remove)
        stack.callback(module.register_forward_hook(after).remove)
        yield seconds


def _wait() -> None:
    """Wait until a GPU has finished."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
