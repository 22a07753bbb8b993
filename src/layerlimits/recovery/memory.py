"""Whether the activations of a training fit into the memory of a CPU; one allocation too many would kill the process."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from layerlimits.resources import free_memory, size

# Of the free memory, what activations may take; the backward pass and other processes need the rest.
_SHARE = 0.7


@dataclass
class MemoryWatch:
    """Measures what the first forward pass keeps for the backward pass, and stops the training before a larger batch
    would not fit.

    Args:
        longest: Most tokens, padding included, that are computed at once in this training.
        room: Bytes that activations may take; by default most of the free memory.
    """

    longest: int
    room: int | None = None
    _kept: int = 0
    _done: bool = False

    def step(self, compute: Callable[[], Any], model: torch.nn.Module, tokens: int) -> Any:
        """The result of a forward and backward pass over so many tokens.

        Raises:
            RuntimeError: Activations do not fit; `is_out_of_memory` recognizes it.
        """
        if self._done:
            return compute()
        room = int(_SHARE * free_memory()) if self.room is None else self.room
        seen = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                self._kept += storage.nbytes()
                self._check(self._kept, room)
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            result = compute()
        self._done = True
        self._check(self._kept / tokens * self.longest, room)
        return result

    def _check(self, needed: float, room: int) -> None:
        if needed > room:
            raise RuntimeError(f"can't allocate memory: activations need {size(needed)}, and {size(room)} are free")


def longest_batch(lengths: Sequence[int], at_once: int) -> int:
    """Most tokens of consecutive rows that are padded to the same length.

    Args:
        lengths: Tokens of the rows in training order.
        at_once: Number of rows that are computed at once.
    """
    parts = (lengths[first : first + at_once] for first in range(0, len(lengths), at_once))
    return max(len(part) * max(part) for part in parts)
