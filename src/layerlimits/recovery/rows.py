"""Training rows: the token ids the evaluator feeds, the answer, the end of the turn; and the order they come in."""

import random
from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.models.generation import end_tokens
from layerlimits.recovery.data import Example

# What the loss leaves out, by the convention of torch's cross-entropy.
IGNORED = -100

# Called with the steps done and their total.
StepProgress = Callable[[int, int], None]

# Batches whose rows are sorted by length together: enough to waste little on padding, few enough to stay shuffled.
_BATCHES_PER_WINDOW = 50


class Row(TypedDict):
    """One example, T token ids long; `labels` repeats the answer's ids and is IGNORED over the prompt."""

    input_ids: list[int]
    labels: list[int]


def end_of_turn(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: of those generation stops at, the one the chat template writes.

    Raises:
        UserError: generation of this model stops at no token.
    """
    stops = end_tokens(model, tokenizer)
    if not stops:
        raise UserError(
            "the model has no end-of-sequence token, so a finetuned answer would never end",
            "set eos_token_id in generation_config.json",
        )
    if not tokenizer.chat_template:
        return tokenizer.eos_token_id if tokenizer.eos_token_id in stops else stops[0]
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    written: Any = tokenizer.apply_chat_template(turn, return_dict=True)
    return next((token for token in reversed(written["input_ids"]) if token in stops), stops[0])


def to_rows(tokenizer: PreTrainedTokenizerBase, end: int, examples: Sequence[Example], max_length: int) -> list[Row]:
    """The prompt's ids as the evaluator feeds them, then the answer's, then `end`.

    TRL's own templating is not used: where a template writes a finished turn otherwise than an open one, it cuts the
    prompt where they part, and the model would train on prompts that it is never asked. Rows longer than `max_length`
    are left out, since a cut one would teach not to end.

    Raises:
        UserError: no row is short enough.
    """
    rows: list[Row] = []
    for example in examples:
        prompt = list(example.prompt_ids)
        completion = [*tokenizer(example.answer, add_special_tokens=False)["input_ids"], end]
        if len(prompt) + len(completion) <= max_length:
            rows.append(Row(input_ids=prompt + completion, labels=[IGNORED] * len(prompt) + completion))
    if not rows:
        raise UserError(
            f"none of {len(examples)} examples fits in {max_length} tokens", "raise max_length, or give shorter prompts"
        )
    return rows


def trained_tokens(rows: Sequence[Row]) -> int:
    """Tokens the loss is taken on, once over the rows: the answers with their end tokens."""
    return sum(label != IGNORED for row in rows for label in row["labels"])


def training_order(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[int]:
    """Row numbers in the order of training, rows of like length side by side; batches are cut from it in turn.

    A function of its arguments alone, so a resumed run sees the rows the killed one would have seen.

    Args:
        lengths: tokens of each row, (N,).
    Returns:
        (epochs * N,) row numbers, each `epochs` times: one shuffled epoch after the other, sorted by length within
        windows of whole batches that are no longer than an epoch.
    """
    rng = random.Random(seed)
    stream = [row for _ in range(epochs) for row in rng.sample(range(len(lengths)), len(lengths))]
    window = batch_size * max(1, min(_BATCHES_PER_WINDOW, len(lengths) // batch_size))
    order: list[int] = []
    for start in range(0, len(stream), window):
        rows = sorted(stream[start : start + window], key=lambda row: lengths[row])
        batches = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
        # The last batch of all may be smaller and has to stay last: batches are cut by counting.
        moved = batches if len(rows) == window else batches[:-1]
        shuffled = rng.sample(moved, len(moved)) + batches[len(moved) :]
        order.extend(row for batch in shuffled for row in batch)
    return order
