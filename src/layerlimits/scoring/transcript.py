"""Extract the assistant's own answer from a raw response, without its reasoning and without other turns.

A response should end with its turn. Models that fail to stop continue with markers of their chat template: some open
another section of the same answer (`<|im_start|>answer`, `<|channel|>final`), others a turn of another role.

Markers of reasoning models: <think> (Qwen, DeepSeek, GLM), [THINK] (Mistral), ◁think▷ (Kimi), START_THINKING (Cohere),
channels (GPT-OSS, and in other signs Gemma), turns (s1).
"""

import re
from dataclasses import dataclass, field

from layerlimits.types import Response

_THOUGHTS = r"think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis|commentary"
_SECTIONS = r"answer|final|response|solution|output|result"
_OWN = r"assistant|model|chatbot|bot|gpt"
_OTHERS = (
    r"user|human|system|developer|tool|tools|function|ipython|environment|observation|tool_response|available_tools"
)
_TAGS = r"think(?:ing)?|thoughts?|reasoning|reflection|scratchpad|seed:think"
_NAMES = rf"{_THOUGHTS}|{_SECTIONS}|{_OWN}|{_OTHERS}"

_MARK = re.compile(
    rf"""
      (?P<close> (?i:</(?:{_TAGS})> | \[/THINK\] | ◁/think▷)
        | <\|END_THINKING\|> | <\|end_of_thought\|> | assistantfinal(?!ly) )
    | (?P<open> (?i:<(?:{_TAGS})> | \[THINK\] | ◁think▷)
        | <\|START_THINKING\|> | <\|begin_of_thought\|> | \Aanalysis(?=[A-Z]) )
    | (?: <\|im_start\|> | <start_of_turn> | <\|turn> | <\|start\|> | <\|channel\|> | <\|channel>
        | <\|START_OF_TURN_TOKEN\|> ) [ ]{{0,3}} (?P<named>(?:{_NAMES})\b)?
        # The channel of a message has a marker of its own.
        (?: (?:(?!<\|(?:start|channel)\|>)[^\n]){{0,80}}? <\|message\|> )?
    | (?: <\|start_header_id\|> | <\|start_of_role\|> ) [ ]{{0,3}} (?P<header>(?:{_NAMES})\b)?
        (?: <\|end_header_id\|> | <\|end_of_role\|> )?
    | (?: <\|? | <｜ | \[\| ) (?P<role>(?i:(?:{_OWN}|user|human|system|tool|observation)))
        (?: (?:_token)? (?:\|>|｜>|\|\]) )
    | (?P<token> <\|(?:USER|SYSTEM|CHATBOT)_TOKEN\|> )
    | (?P<instruct> \[INST\] | <<SYS>> )
    | (?P<instructed> \[/INST\] )
    | (?P<end> <\|(?:im_end|eot_id|endoftext|end|eom_id|end_of_text|return|call|endofturn|END_OF_TURN_TOKEN|eos)\|>
        | </s> | <end_of_turn> | <turn\|> | <eos> | <｜[^｜\n]{{1,40}}｜> | \[\|endofturn\|\] )
    | (?P<shut> <channel\|> )
    | (?P<nothing> <\|message\|> | <\|(?:START|END)_RESPONSE\|> | <\|(?:begin|end)_of_solution\|> )
    """,
    re.VERBOSE,
)


# Marks of reasoning are looked for in this many characters at the end of a prompt.
_LONGEST_END = 200
_OPENS = rf"(?i:<(?:{_TAGS})>|\[THINK\]|◁think▷)|<\|START_THINKING\|>|<\|begin_of_thought\|>"
_CLOSES = rf"(?i:</(?:{_TAGS})>|\[/THINK\]|◁/think▷)|<\|END_THINKING\|>|<\|end_of_thought\|>"
_OPENS_AT_END = re.compile(rf"(?:{_OPENS})\s*\Z")
_CLOSES_AT_END = re.compile(rf"(?:{_CLOSES})\s*\Z")
_MARKS_THOUGHT = re.compile(rf"{_OPENS}|{_CLOSES}|<\|channel\|?>|<\|im_start\|>think")


@dataclass(frozen=True)
class OwnAnswer:
    """The answer part of a response.

    `finished`: The answer is complete, even if the response went on after it and was truncated there.
    `thinking`: The response ended inside its reasoning.
    """

    text: str
    finished: bool
    thinking: bool = False


@dataclass
class _Reader:
    """State of the reader: the parts of the answer so far, and whether reasoning or another turn is open.

    A tag (`<think>`) ends only at its closing tag; a channel also ends with its message.
    """

    answer: list[str] = field(default_factory=list)
    answered: bool = False
    thinking: bool = False
    channel: bool = False
    others: bool = False
    stopped: bool = False

    def add(self, text: str) -> None:
        if not self.thinking and not self.others:
            self.answer.append(text)
            self.answered = self.answered or bool(text.strip())

    def think(self, *, channel: bool) -> None:
        if not self.thinking:
            self.thinking, self.channel = True, channel
        self.others = False

    def conclude(self) -> None:
        """Reasoning ends; if no marker opened it, the chat template did, and all text so far was reasoning."""
        if not self.thinking:
            self.answer, self.answered = [], False
        elif self.answered:
            self.answer.append("\n")
        self.thinking = self.others = False

    def open(self, name: str) -> None:
        """A section or a turn begins."""
        if re.fullmatch(_THOUGHTS, name):
            self.think(channel=True)
        elif self.thinking and re.fullmatch(f"{_SECTIONS}|{_OWN}", name):
            self.conclude()
        elif re.fullmatch(_SECTIONS, name):
            self.others = False
        elif self.answered or self.thinking:
            self.stopped = True
        else:
            self.others = bool(re.fullmatch(_OTHERS, name))

    def shut(self) -> None:
        """A channel ends; the answer continues after it."""
        if self.thinking and self.channel:
            self.conclude()

    def end(self) -> None:
        """A message ends, and with it the answer, if any."""
        if self.thinking and self.channel:
            self.conclude()
        elif self.thinking or self.answered:
            self.stopped = True
        self.others = False


def own_answer(response: Response) -> OwnAnswer:
    """The answer without reasoning and chat markers, and without anything that follows it.

    Unclosed reasoning extends to the end of the response, even if the response stopped by itself: a draft is not an
    answer. If reasoning is closed but was not opened, the prompt opened it, and all text before it is reasoning.
    """
    text, reader, place = response.text, _Reader(), 0
    for mark in _MARK.finditer(text):
        reader.add(text[place : mark.start()])
        place = mark.end()
        _read(reader, mark)
        if reader.stopped:
            break
    else:
        reader.add(text[place:])
    finished = response.finish != "length" or reader.stopped
    return OwnAnswer("".join(reader.answer), finished, reader.thinking and not reader.answered)


def opens_thought(prompt: str) -> bool:
    """Whether a prompt ends with an opened reasoning, so that the response begins inside it."""
    return bool(_OPENS_AT_END.search(prompt[-_LONGEST_END:]))


def closes_thought(prompt: str) -> bool:
    """Whether a prompt ends with a closed reasoning, so that the response begins with the answer."""
    return bool(_CLOSES_AT_END.search(prompt[-_LONGEST_END:]))


def marks_thought(text: str) -> bool:
    """Whether a text, such as a chat template or a token, has marks of reasoning."""
    return bool(_MARKS_THOUGHT.search(text))


def _read(reader: _Reader, mark: re.Match[str]) -> None:
    kind = mark.lastgroup
    if kind == "close":
        reader.conclude()
    elif kind == "open":
        reader.think(channel=False)
    elif kind == "end":
        reader.end()
    elif kind == "shut":
        reader.shut()
    elif kind != "nothing":
        reader.open(_name(mark))


def _name(mark: re.Match[str]) -> str:
    """The role or section a marker opens; empty if it names none."""
    if mark["instruct"]:
        return "user"
    if mark["instructed"]:
        return "assistant"
    if mark["token"]:
        return "chatbot" if "CHATBOT" in mark["token"] else "user"
    return (mark["named"] or mark["header"] or mark["role"] or "").lower()
