"""From a sample to the tokens a model reads: the model's own chat template, or plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.types import Continuation, Sample, content_hash

# A prompt that leaves less room than its task asks for gets what is left, in steps of so many tokens: so prompts of
# almost the same length share batches, and what a prompt gets depends on nothing but itself.
_ROOM_STEP = 64


@dataclass(frozen=True)
class Prompt:
    """A sample as the model reads it: token ids of the prompt, and for choices rows of (context, continuation) ids.

    `text` is what the ids were made of; `template` the hash of the chat template, None in plain text.
    """

    sample: Sample
    ids: list[int]
    rows: list[Continuation]
    text: str
    template: str | None = None

    @cached_property
    def hash(self) -> str:
        """Identifies the exact tokens asked, template included."""
        return content_hash([self.ids, self.rows])

    @cached_property
    def tokens(self) -> int:
        """The positions that the prompt takes, or its longest row; the last token of a row is not read."""
        return max([len(self.ids), *(len(context) + len(continuation) - 1 for context, continuation in self.rows)])


def check_chat(tokenizer: PreTrainedTokenizerBase, chat: bool | None, name: str) -> None:
    """Refuse to ask through a template that is not there.

    Raises:
        UserError: chat is asked for, and the model has no template.
    """
    if chat and not tokenizer.chat_template:
        raise UserError(
            f"chat is asked for, and the tokenizer of {name} has no chat template",
            "leave --chat out: the model then reads plain text; or add its chat_template.jinja",
        )


def encode(tokenizer: PreTrainedTokenizerBase, sample: Sample, chat: bool | None = None) -> Prompt:
    """The sample through the model's own chat template; plain text where it has none, or where `chat` is False.

    A sample that brings (context, continuation) pairs is asked as these say, whatever `chat` is.
    """
    if sample.pairs:
        return _encode_pairs(tokenizer, sample)
    if tokenizer.chat_template and chat is not False:
        text, ids = _templated(tokenizer, sample.messages)
        space, template = "", template_hash(tokenizer)
    else:
        shots = "".join(f"{question}\n{answer}\n\n" for question, answer in sample.shots)
        text, space, template = f"{shots}{sample.prompt}\n", " ", None
        ids = list(tokenizer(text)["input_ids"])
    choices = [list(tokenizer(space + choice, add_special_tokens=False)["input_ids"]) for choice in sample.choices]
    return Prompt(sample, ids, [(ids, choice) for choice in choices], text, template)


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Identifies the chat template."""
    return content_hash(tokenizer.chat_template)


def _templated(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> tuple[str, list[int]]:
    encoded: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return str(text), list(encoded["input_ids"])


def _encode_pairs(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> Prompt:
    """Pairs are tokenized by lm-evaluation-harness, as its own models do."""
    from layerlimits.lm_eval_bridge import chat_text, encode_pair

    rows, texts, template = [], [], None
    for context, continuation in sample.pairs:
        if isinstance(context, str):
            texts.append(context)
        else:
            template = template_hash(tokenizer)
            texts.append(chat_text(tokenizer, context))
        rows.append(encode_pair(tokenizer, texts[-1], continuation))
    # Mostly all choices continue one context.
    return Prompt(sample, [], rows, "\n\n".join(dict.fromkeys(texts)), template)


def room(prompt: Prompt, wanted: int, positions: int | None) -> int | None:
    """How many tokens an answer may take, `wanted` at most; None where the prompt fits into no positions of the model
    or leaves no room.
    """
    if positions is None or prompt.tokens + wanted <= positions:
        return wanted
    left = (positions - prompt.tokens) // _ROOM_STEP * _ROOM_STEP
    return left if wanted and left > 0 else None


def batches(
    prompts: Sequence[Prompt], size: int, wanted: int = 0, positions: int | None = None
) -> Iterator[tuple[int, list[Prompt]]]:
    """Batches of prompts of similar length, with the room their answers have; a function of the prompts alone, so a
    resumed run forms the same ones. Prompts without room are left out.
    """
    rooms: dict[int, list[Prompt]] = {}
    for prompt in prompts:
        tokens = room(prompt, wanted, positions)
        if tokens is not None:
            rooms.setdefault(tokens, []).append(prompt)
    for tokens in sorted(rooms, reverse=True):
        ordered = sorted(rooms[tokens], key=lambda prompt: (prompt.tokens, prompt.sample.id))
        for start in range(0, len(ordered), size):
            yield tokens, ordered[start : start + size]
