"""Generation settings: the end tokens come from the checkpoint, all other settings from layerlimits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.errors import UserError


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """The distinct tokens that end an answer: those of the checkpoint's generation settings (generation_config.json, or
    config.json without it), otherwise the tokenizer's; empty if neither has one.

    Raises:
        UserError: `eos_token_id` is neither a token id nor a list of token ids.
    """
    settings = model.generation_config
    named: Any = settings.eos_token_id if settings is not None else None
    if named is None:
        named = tokenizer.eos_token_id
    if named is None:
        return ()
    tokens = named if isinstance(named, list | tuple) else [named]
    wrong = [token for token in tokens if type(token) is not int or token < 0]
    if wrong:
        raise UserError(
            f"the model's eos_token_id is {named!r:.60}, not a token id or a list of token ids",
            "correct it in generation_config.json or config.json",
        )
    return tuple(dict.fromkeys(tokens))


@contextmanager
def own_settings_only(model: PreTrainedModel) -> Iterator[None]:
    """Inside the block, `model.generate` takes no settings from the checkpoint.

    Otherwise transformers takes all settings that a GenerationConfig leaves open (repetition_penalty, min_p, num_beams,
    suppress_tokens, max_time, stop_strings and more) from generation_config.json.
    """
    before = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = before
