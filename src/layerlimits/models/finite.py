"""Detection of logits that are not finite. An answer computed from them looks like any other, so they raise an error.

A row of logits is usable if its largest entry is finite. NaN and +inf count as the largest entry; if the largest entry
is -inf, no token is the most likely one. Some architectures mask single tokens with -inf, which is allowed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from layerlimits.errors import UserError

# Takes the place of a token whose logits are not finite.
NOT_FINITE = -1


class NonFiniteLogits(Exception):  # noqa: N818  # callers turn it into a UserError that names the layers
    """Rows of logits whose largest entry is not finite.

    Args:
        row: index of the first such row.
    """

    def __init__(self, row: int) -> None:
        super().__init__(f"row {row}")
        self.row = row


def likeliest(logits: Tensor) -> Tensor:
    """The token with the largest logit of each row: (W, V) -> (W,).

    Raises:
        NonFiniteLogits: the largest entry of a row is not finite.
    """
    tokens, largest = _largest(logits)
    check_rows(largest)
    return tokens


def likeliest_or_marked(logits: Tensor) -> Tensor:
    """As `likeliest`, with `NOT_FINITE` instead of an error: for callers that cannot wait for a GPU here."""
    tokens, largest = _largest(logits)
    return tokens.where(largest.isfinite(), NOT_FINITE)


def _largest(logits: Tensor) -> tuple[Tensor, Tensor]:
    # NaN counts as the largest entry, so checking the W selected entries is enough. Of equal entries, max selects the
    # same one as argmax, and is five times as fast in bfloat16 on a CPU.
    largest, tokens = logits.max(-1)
    return tokens, largest


def check_rows(largest: Tensor) -> None:
    """Check that the largest entry of each row, (W,), is finite.

    Raises:
        NonFiniteLogits: an entry is not finite; gives the first such row.
    """
    usable = largest.isfinite()
    if not bool(usable.all()):
        raise NonFiniteLogits(int(usable.logical_not().nonzero()[0]))


def gathered(logits: Tensor, rows: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The log-probabilities of tokens in nats, float32, and whether each token has the largest logit of its row.

    Args:
        logits: logits (W, V).
        rows: the row of each token (T,).
        targets: the tokens (T,).
    Raises:
        NonFiniteLogits: the log-softmax of a row is not a number.
    """
    # Not logsumexp, which is more accurate: over 262,144 tokens, torch's log_softmax is off by 3e-5 on average, and so
    # are the scores of lm-evaluation-harness.
    logprobs = logits.float().log_softmax(-1)[rows, targets]
    # A NaN makes the whole row NaN. +inf makes the other entries -inf, like masked tokens: check the logits.
    doubtful = rows[logprobs.isfinite().logical_not()]
    if len(doubtful):
        try:
            check_rows(logits[doubtful].amax(-1))
        except NonFiniteLogits as error:
            raise NonFiniteLogits(int(doubtful[error.row])) from None
    return logprobs, logits.max(-1).indices[rows] == targets


@contextmanager
def watched(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block, the logits at the last position of every forward pass are checked, which generation uses.

    Raises:
        NonFiniteLogits: inside the block.
    """

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        check_rows(output.logits[:, -1].amax(-1))

    handle = model.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def refusal(removed: Sequence[int], dtype: torch.dtype) -> UserError:
    """The error for a model whose logits are not finite.

    Args:
        removed: its removed layers, possibly none.
    """
    kind = str(dtype).removeprefix("torch.")
    layers = f"layer{'s' if len(removed) > 1 else ''} {', '.join(map(str, removed))}"
    which = f"the model without {layers}" if removed else "the model"
    wider = "" if dtype == torch.float32 else "use dtype float32 (--dtype float32); if that does not help, "
    return UserError(
        f"the logits of {which} are not finite in {kind}, so it cannot be scored",
        f"{wider}look for NaN or inf in the checkpoint's weights, or download it again",
    )
