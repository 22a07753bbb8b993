"""Logits that are no numbers: an answer computed from them looks like any other, so they are refused where they are
reduced.

A row of logits is usable if its largest entry is finite: a NaN anywhere counts as the largest, and so does +inf; a row
whose largest entry is -inf has no likeliest token. Single entries of -inf are how some architectures mask tokens.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError


class NonFiniteLogits(Exception):  # noqa: N818  # not an error of its own: becomes a UserError where layers have names
    """Rows of logits whose largest entry is not finite.

    Args:
        row: the first of them.
    """

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


def likeliest(logits: Tensor, real: Tensor | None = None) -> Tensor:
    """The token with the largest logit of each row: (W, V) -> (W,).

    Args:
        real: which rows count, bool (W,); all if None.
    Raises:
        NonFiniteLogits: a row without a largest logit.
    """
    tokens = logits.argmax(-1)
    # argmax takes a NaN for the largest. No second pass over the vocabulary: only the W entries picked are looked at.
    largest = logits.gather(-1, tokens[:, None])[:, 0]
    check_rows(largest if real is None else largest.where(real, 0))
    return tokens


def check_rows(largest: Tensor) -> None:
    """Refuse rows whose largest entry, (W,), is not finite.

    Raises:
        NonFiniteLogits: the first such row.
    """
    usable = largest.isfinite()
    if not bool(usable.all()):
        raise NonFiniteLogits(int(usable.logical_not().nonzero()[0]))


def gathered(logits: Tensor, targets: Tensor) -> Tensor:
    """The log-probability of a token in each row, in nats, float32: logits (W, V), tokens (W,) -> (W,).

    Raises:
        NonFiniteLogits: a row whose log-softmax is not a number.
    """
    logprobs = logits.float().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    # A NaN makes the whole row NaN. +inf makes the other entries -inf, which a masked token is, too: look at the row.
    doubtful = logprobs.isfinite().logical_not().nonzero()[:, 0]
    if len(doubtful):
        try:
            check_rows(logits[doubtful].amax(-1))
        except NonFiniteLogits as found:
            raise NonFiniteLogits(int(doubtful[found.row])) from None
    return logprobs


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[None]:
    """Within the block every forward pass is checked at its last position, the one that generation reads.

    Raises:
        NonFiniteLogits: in the block.
    """

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        check_rows(output.logits[:, -1].amax(-1))

    handle = model.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def refusal(removed: Sequence[int], dtype: torch.dtype) -> UserError:
    """The error for a model, some layers removed or none, whose logits are not finite."""
    kind = str(dtype).removeprefix("torch.")
    which = f"without layers {', '.join(map(str, removed))}" if removed else "as it is"
    which = which.replace("layers", "layer") if len(removed) == 1 else which
    wider = "" if dtype == torch.float32 else "use --dtype float32; if that does not help, "
    return UserError(
        f"the logits of the model {which} are not finite in {kind}: it cannot be scored",
        f"{wider}look for NaN or inf in the checkpoint's weights, and download it again",
    )
