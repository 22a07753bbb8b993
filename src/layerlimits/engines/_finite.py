"""Which variant of a shared batch has logits that are not finite."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from layerlimits.models.finite import NonFiniteLogits
from layerlimits.types import Variant


class NonFiniteVariant(Exception):  # noqa: N818  # not an error of its own: the engine knows the layers' own numbers
    """A variant, in the numbering of the opened model, whose logits are not finite."""

    def __init__(self, variant: Variant) -> None:
        super().__init__(f"without {variant}")
        self.variant = variant


@contextmanager
def naming(variants: Sequence[Variant]) -> Iterator[None]:
    """Within the block, rows of logits that are not finite become an error that names their variant.

    Args:
        variants: of each row, (W,).
    Raises:
        NonFiniteVariant: in the block.
    """
    try:
        yield
    except NonFiniteLogits as found:
        raise NonFiniteVariant(variants[found.row]) from None
