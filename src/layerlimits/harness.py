"""lm-evaluation-harness as a library: its tokenization of pairs, and our engines as one of its models."""

from transformers import PreTrainedTokenizerBase

from layerlimits.types import Continuation


def encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> Continuation:
    """Token ids of a context and its continuation, as lm-evaluation-harness splits them."""
    raise NotImplementedError
