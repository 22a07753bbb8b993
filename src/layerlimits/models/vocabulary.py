"""Checks of token ids against the embeddings of a model, whose tokenizer can be that of another one."""

from collections.abc import Iterable, Sequence

from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.errors import UserError


def embedded_tokens(model: PreTrainedModel) -> int:
    """Number of tokens that have an embedding."""
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, Tensor)
    return weight.shape[0]


def check_tokens(model: PreTrainedModel, texts: Iterable[Sequence[int]]) -> None:
    """Check that all token ids of texts have an embedding: torch fails without a reason on a CPU, and a GPU has to be
    restarted.

    Raises:
        UserError: A token has none.
    """
    largest, tokens = max((max(ids) for ids in texts if ids), default=-1), embedded_tokens(model)
    if largest >= tokens:
        raise UserError(
            f"the tokenizer writes token {largest}, but the model has embeddings for {tokens} tokens only (0 to "
            f"{tokens - 1})",
            "use the tokenizer files that belong to the model, or enlarge its embeddings (resize_token_embeddings) and "
            "save it again",
        )
