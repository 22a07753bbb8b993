"""A response without the model's thoughts and without what follows the end of its turn."""

import re
from dataclasses import dataclass

# Marks of reasoning models: <think> (Qwen, DeepSeek, GLM), [THINK] (Mistral), channels (GPT-OSS), turns (s1), others.
_NAMES = r"(?:think|thinking|thought|thoughts|reasoning|reflection|scratchpad|seed:think)"
_OPENS = (
    rf"<{_NAMES}>|\[THINK\]|◁think▷|<\|START_THINKING\|>|<\|begin_of_thought\|>|<\|im_start\|>think\b"
    r"|<\|channel\|>(?:analysis|commentary)\b[^<\n]{0,80}<\|message\|>"
)
_CLOSES = (
    rf"</{_NAMES}>|\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|end_of_thought\|>|<\|im_start\|>answer\b"
    r"|<\|channel\|>final\b[^<\n]{0,80}<\|message\|>"
)
_THOUGHT = re.compile(rf"(?P<opens>{_OPENS})|(?P<closes>{_CLOSES})", re.IGNORECASE)
# Marks of chat templates and ends of documents that stay in a text whose special tokens were not removed.
_TURN = re.compile(
    r"<\|(?:im_end|im_start|eot_id|eom_id|start_header_id|end_of_text|endoftext|end|return|start|user|system|eos)\|>"
    r"|<\|(?:START|END)_OF_TURN_TOKEN\|>|<｜[^｜\n]{1,40}｜>|<(?:start|end)_of_turn>|</s>|<eos>"
)
# The mark that begins the model's own turn, with the role that follows it.
_OWN_TURN = re.compile(
    r"\s*(?:<\|(?:im_start|start)\|>|<start_of_turn>|<\|start_header_id\|>)"
    r"(?:assistant|model)(?:<\|end_header_id\|>|(?=<\|channel\|>)|\s*\n)"
)


@dataclass(frozen=True)
class FinalText:
    """The final text of a response.

    `turn_ended` is True if a mark in the text ends the turn: the text is whole then, even if tokens ran out after it.
    """

    text: str
    turn_ended: bool


def final_text(response: str) -> FinalText:
    """What a response says outside of its thoughts, up to the end of its turn.

    A thought that never ends takes the rest of the response with it: a draft in it is no answer. A thought that ends
    without having begun, because the prompt opened it, takes what comes before.
    """
    text = _without_thoughts(_OWN_TURN.sub("", response, count=1) if _OWN_TURN.match(response) else response)
    start = 0
    for mark in _TURN.finditer(text):
        # Marks before any text open the turn.
        if text[start : mark.start()].strip():
            return FinalText(text[start : mark.start()], True)
        start = mark.end()
    return FinalText(text[start:], False)


def _without_thoughts(text: str) -> str:
    parts: list[str] = []
    start, thinking = 0, False
    for mark in _THOUGHT.finditer(text):
        if mark["opens"]:
            if not thinking:
                parts.append(text[start : mark.start()])
            thinking = True
            continue
        if not thinking:
            # Opened by the prompt, or by a mark within a thought that has ended already.
            parts.clear()
        start, thinking = mark.end(), False
    return "".join(parts) if thinking else "".join([*parts, text[start:]])
