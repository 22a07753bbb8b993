"""Which variant of a shared batch has logits that are not finite."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from layerlimits.models.finite import NonFiniteLogits, likeliest
from layerlimits.types import Variant


class NonFiniteVariant(Exception):  # noqa: N818  # the engine turns it into a UserError in the base model's numbering
    """A variant, in the numbering of the opened model, whose logits are not finite."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(f"without {variant}")
        self.variant = variant


@contextmanager
def naming_variants(variants: Sequence[Variant]) -> Iterator[None]:
    """Inside the block, `NonFiniteLogits` becomes an error that names the variant of the row.

    Args:
        variants: the variant of each row of logits, (W,).
    Raises:
        NonFiniteVariant: inside the block, if a row of logits is not finite.
    """
    try:
        yield
    except NonFiniteLogits as error:
        raise NonFiniteVariant(variants[error.row]) from None


def likeliest_tokens(slices: Iterable[tuple[slice, Tensor]], variants: Sequence[Variant]) -> Tensor:
    """The token with the largest logit of each row, (W,).

    Args:
        slices: slices of the W rows with their logits.
        variants: the variant of each row, (W,).
    Raises:
        NonFiniteVariant: the largest logit of a row is not finite.
    """
    tokens = []
    for part, logits in slices:
        with naming_variants(variants[part]):
            tokens.append(likeliest(logits))
    return torch.cat(tokens)
