"""Training rows (prompt ids as in evaluation, answer, end of turn) and their order."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NotRequired, TypedDict

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.chat import rendering
from layerlimits.errors import UserError
from layerlimits.models.generation import end_tokens
from layerlimits.recovery.data import Example

# Label that torch's cross-entropy ignores.
IGNORED = -100

# Called with the number of completed steps and the total.
StepProgress = Callable[[int, int], None]

# Number of batches whose rows are sorted by length together: enough to reduce padding, few enough to keep shuffling.
_BATCHES_PER_WINDOW = 50


class Row(TypedDict):
    """One example of T token ids; `labels` repeats the answer's ids and is IGNORED for the prompt.

    `seq_lengths` has the lengths of the examples in a block, if several are packed into one row.
    """

    input_ids: list[int]
    labels: list[int]
    seq_lengths: NotRequired[list[int]]


def end_of_turn(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that ends an answer: the stop token of generation that the chat template writes.

    Raises:
        UserError: The model has no stop token.
    """
    stops = end_tokens(model, tokenizer)
    if not stops:
        raise UserError(
            "the model has no end-of-sequence token, so the finetuned model would never stop generating",
            "set eos_token_id in generation_config.json",
        )
    if not tokenizer.chat_template:
        return tokenizer.eos_token_id if tokenizer.eos_token_id in stops else stops[0]
    turn = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with rendering(tokenizer):
        written: Any = tokenizer.apply_chat_template(turn, return_dict=True)
    return next((token for token in reversed(written["input_ids"]) if token in stops), stops[0])


def to_rows(tokenizer: PreTrainedTokenizerBase, end: int, examples: Sequence[Example], max_length: int) -> list[Row]:
    """Rows of the prompt's ids as encoded for evaluation, the answer's ids, and `end` if the answer is finished.

    TRL's own templating is not used: if a template writes a finished turn differently from an open one, TRL cuts the
    prompt where they diverge, and the model would train on prompts that never occur in evaluation. Rows longer than
    `max_length` are omitted, since truncated answers would teach the model not to stop.

    Raises:
        UserError: Every row is longer than `max_length`.
    """
    rows: list[Row] = []
    for example in examples:
        prompt = list(example.prompt_ids)
        ending = [end] if example.finish == "stop" else []
        completion = [*tokenizer(example.answer, add_special_tokens=False)["input_ids"], *ending]
        if len(prompt) + len(completion) <= max_length:
            rows.append(Row(input_ids=prompt + completion, labels=[IGNORED] * len(prompt) + completion))
    if not rows:
        raise UserError(
            f"none of the {len(examples)} examples fits in {max_length} tokens",
            "raise max_length (--max-length), or use shorter prompts",
        )
    return rows


@dataclass(frozen=True)
class Schedule:
    """Training rows and the order in which they are trained on.

    Args:
        rows: The rows.
        order: Row numbers in training order, see `training_order`.
        batch_size: Rows per step.
    """

    rows: Sequence[Row]
    order: Sequence[int]
    batch_size: int

    @property
    def steps(self) -> int:
        """Number of steps."""
        return -(-len(self.order) // self.batch_size)

    def tokens_by_step(self) -> list[int]:
        """Number of tokens in the loss after each step, cumulative."""
        counts = [sum(label != IGNORED for label in row["labels"]) for row in self.rows]
        firsts = range(0, len(self.order), self.batch_size)
        return list(
            accumulate(sum(counts[row] for row in self.order[first : first + self.batch_size]) for first in firsts)
        )


def trained_tokens(rows: Sequence[Row]) -> int:
    """Number of tokens in the loss over one epoch: the answers with their end tokens."""
    return sum(label != IGNORED for row in rows for label in row["labels"])


def training_order(lengths: Sequence[int], batch_size: int, epochs: int, seed: int) -> list[int]:
    """Row numbers in training order, with rows of similar length next to each other; batches are consecutive slices.

    The order depends only on the arguments, so a resumed run sees the same rows as an uninterrupted one.

    Args:
        lengths: Number of tokens of each row, (N,).
        batch_size: Rows per batch.
        epochs: Number of epochs.
        seed: Seed of the shuffle.
    Returns:
        (epochs * N,) row numbers, each `epochs` times: shuffled epochs in sequence, sorted by length within windows of
        whole batches. A window is no longer than an epoch.
    """
    rng = random.Random(seed)
    stream = [row for _ in range(epochs) for row in rng.sample(range(len(lengths)), len(lengths))]
    window = batch_size * max(1, min(_BATCHES_PER_WINDOW, len(lengths) // batch_size))
    order: list[int] = []
    for start in range(0, len(stream), window):
        rows = sorted(stream[start : start + window], key=lambda row: lengths[row])
        batches = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
        # The very last batch may be smaller and must stay last, since batches are consecutive slices.
        movable = batches if len(rows) == window else batches[:-1]
        shuffled = rng.sample(movable, len(movable)) + batches[len(movable) :]
        order.extend(row for batch in shuffled for row in batch)
    return order
