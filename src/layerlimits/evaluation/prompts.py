"""From a sample to the tokens a model reads: through the model's chat template, or as plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits.chat import bound_options, check_asks, check_options, rendering
from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.errors import UserError
from layerlimits.scoring.transcript import opens_thought
from layerlimits.types import Continuation, Sample, Window, content_hash

# If a prompt leaves less room than its task allows for an answer, the limit is the room left, rounded down to a
# multiple of this. Prompts of similar length then share batches, and the limit depends only on the prompt.
_ROOM_STEP = 64


@dataclass(frozen=True)
class Prompt:
    """A sample as the model reads it: token ids of the prompt, and for choices rows of (context, continuation) ids.

    `text` is the text of the ids; `template` is the hash of the chat template and its settings, None for plain text.
    """

    sample: Sample
    ids: list[int]
    rows: list[Continuation]
    text: str
    template: str | None = None

    @cached_property
    def hash(self) -> str:
        """Hash of the exact tokens, template included."""
        return content_hash([self.ids, self.rows])

    @cached_property
    def opens_thought(self) -> bool:
        """Whether the chat template has opened the reasoning of the answer."""
        return self.template is not None and opens_thought(self.text)

    @cached_property
    def tokens(self) -> int:
        """Positions taken by the prompt or by its longest row; the last token of a row is not read."""
        return max([len(self.ids), *(len(context) + len(continuation) - 1 for context, continuation in self.rows)])


def check_chat(tokenizer: PreTrainedTokenizerBase, chat: bool | None, name: str, options: ChatOptions = PLAIN) -> None:
    """Check that the model has a chat template if `chat` is set, and that the template uses its settings.

    Raises:
        UserError: chat is set, and the model has no chat template; or see `layerlimits.chat.check_options`.
    """
    if chat is False and options:
        raise UserError(
            f"{options} cannot be used: prompts are plain text (--no-chat)",
            "omit --no-chat, or --system and --chat-args",
        )
    if chat and not tokenizer.chat_template:
        raise UserError(
            f"chat is set, but the tokenizer of {name} has no chat template",
            "omit chat (--chat) to use plain text, or add a chat_template.jinja to the model folder",
        )
    check_options(tokenizer, options, name)


def encode(tokenizer: PreTrainedTokenizerBase, sample: Sample, chat: bool | None = None) -> Prompt:
    """Encode a sample with the model's chat template, or as plain text if it has none or `chat` is False.

    A document, and a sample with (context, continuation) pairs or rows of token ids, is encoded as these say, whatever
    `chat` is.
    """
    if sample.rows:
        return Prompt(sample, [], list(sample.rows), sample.prompt)
    if sample.window:
        return Prompt(sample, [], _windows(tokenizer, sample.prompt, sample.window), sample.prompt)
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


def _windows(tokenizer: PreTrainedTokenizerBase, text: str, window: Window) -> list[Continuation]:
    """The windows of a document as (context, continuation); the continuations are all of its tokens, in order.

    The first token follows the token that begins texts, or else the one that ends them; without either, it is not
    predicted. These are the rolling windows of lm-evaluation-harness if the stride equals the length.
    """
    ids = list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    start = tokenizer.eos_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    tokens = ids if start is None else [start, *ids]
    rows, done, last = list[Continuation](), 0, len(tokens) - 1
    while done < last:
        end = min(last, done + (window.stride if rows else window.length))
        rows.append((tokens[max(0, end - window.length) : done + 1], tokens[done + 1 : end + 1]))
        done = end
    if not rows:
        raise UserError(f"a document has no token to predict: {text[:40]!r}", "remove it")
    return rows


def template_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """Hash of the chat template and its settings."""
    options = bound_options(tokenizer)
    settings = [options.system, dict(options.args)] if options else []
    return content_hash([tokenizer.chat_template, *settings] if settings else tokenizer.chat_template)


def _templated(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> tuple[str, list[int]]:
    with rendering(tokenizer):
        encoded: Any = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        text = str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    check_asks(tokenizer, messages, text)
    return text, list(encoded["input_ids"])


def _encode_pairs(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> Prompt:
    """Pairs are tokenized by lm-evaluation-harness, exactly as in its own models."""
    from layerlimits.lm_eval_bridge import chat_text, encode_pair

    rows, texts, template = [], [], None
    for context, continuation in sample.pairs:
        if isinstance(context, str):
            texts.append(context)
        else:
            template = template_hash(tokenizer)
            with rendering(tokenizer):
                texts.append(chat_text(tokenizer, context))
        rows.append(encode_pair(tokenizer, texts[-1], continuation))
    # Usually all choices continue the same context.
    return Prompt(sample, [], rows, "\n\n".join(dict.fromkeys(texts)), template)


def room(prompt: Prompt, wanted: int, positions: int | None) -> int | None:
    """Maximum number of tokens of an answer, at most `wanted`; None if the prompt does not fit into the model's
    positions or leaves no room for an answer.
    """
    if positions is None or prompt.tokens + wanted <= positions:
        return wanted
    left = (positions - prompt.tokens) // _ROOM_STEP * _ROOM_STEP
    return left if wanted and left > 0 else None


def batches(
    prompts: Sequence[Prompt], size: int, wanted: int = 0, positions: int | None = None
) -> Iterator[tuple[int, list[Prompt]]]:
    """Batches of prompts of similar length, each with the token limit of its answers. They depend only on the prompts,
    so a resumed run forms the same batches. Prompts that leave no room are omitted.
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
