r"""Where a text states its final answer: `####`, `\boxed{}`, "the answer is", and what takes such an answer back."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["hash", "box", "says"]

# Chat templates' marks that some servers leave in the text.
_STOPS = re.compile(r"<\|(?:im_end|im_start|eot_id|endoftext|end|eom_id|end_of_text)\|>|</s>|<end_of_turn>|<eos>")
_THOUGHT_ENDS = re.compile(r"</think(?:ing)?>")
_THOUGHT_BEGINS = re.compile(r"<think(?:ing)?>")
# What is looked through: the end of a text, where answers stand.
_LONGEST = 20_000

# A base model goes on with a next question of its own.
NEXT_TURN = re.compile(
    r"\n[ \t]*(?:[#*]{1,3}[ ]?)?"
    r"(?:(?:Next |New )?(?:Question|Problem|Exercise|Q)[ ]?\d{0,3}[ ]?[:.]|(?:Human|User)[ ]?:)"
)

_WORD = r"(?:answers?|ans|答案|答え|réponse|respuesta|antwort|risposta|resposta|ответ|उत्तर|الجواب|الإجابة)"
_LINKS = r"(?:\b(?:is|are|was|equals|be|to be|es|est|ist|é|è)\b(?!n't)|=|:|是|为|は|है|هو|هي)"
_SAYS = re.compile(
    rf"(?<![A-Za-z-]){_WORD}(?![ ](?:the|this|that|these|with|each|all|any)\b)[^\n.:=!?]{{0,100}}?{_LINKS}[ \u00a0:]*"
    rf"|(?<![A-Za-z-]){_WORD}[*_ ]{{0,4}}(?=\n)",
    re.IGNORECASE,
)
_IS_THE_ANSWER = re.compile(
    r"[^\n.!?]{0,80}?\b(?:is|are)\s+(?:the|my|our|your)\s+(?:final |correct |right )*"
    r"(?:answer|result|total|sum|difference|product)\b",
    re.IGNORECASE,
)
_HASH = re.compile(r"#{4}(?!#)[ \t:]*")
# A text that repeats itself may open thousands; each is looked through to its end.
_MOST_BOXES = 50
_BOX = re.compile(r"\\(?:boxed|fbox)\s*")

_TAKES_BACK = re.compile(
    r"\b(?:wait|actually|correction|oops|sorry|apologi[sz]e|mistake|miscalculated|hold on|on second thought|"
    r"i was wrong|that(?:'s| is) (?:wrong|not right|incorrect)|"
    r"let me (?:redo|correct|fix|re-?calculate|re-?compute))\b",
    re.IGNORECASE,
)
_CONFIRMS = re.compile(
    r"(?<!not )(?<!n't )(?<!in)\b(?:correct|confirmed|confirms|checks out|right|matches|verified|consistent|agrees)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Statement:
    """A place that states the answer: what marks it, where the mark begins, and where the answer begins and ends.

    `closed` is False for a box whose brace is missing.
    """

    kind: Kind
    mark: int
    start: int
    end: int
    closed: bool = True


@dataclass(frozen=True)
class Said:
    """A response without what is no answer; `finished` tells whether it is all of it."""

    text: str
    finished: bool


def clean(text: str, *, finished: bool) -> Said:
    """The text without thoughts, chat marks and questions that the model asked itself after its answer.

    A thought that never ended in an unfinished text holds no answer yet.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = _THOUGHT_ENDS.split(text)[-1]
    opened = _THOUGHT_BEGINS.search(text)
    if opened and not finished:
        return Said(text[: opened.start()], finished)
    text = text[opened.end() :] if opened else text
    stop = next((at.start() for at in _STOPS.finditer(text) if text[: at.start()].strip()), None)
    turn = _next_turn(text)
    ends = min(len(text) if stop is None else stop, len(text) if turn is None else turn)
    return Said(_STOPS.sub("", text[:ends])[-_LONGEST:], finished or ends < len(text))


def _next_turn(text: str) -> int | None:
    """Where a next question begins; one that stands before any digit is the one that was asked, repeated."""
    answered = re.search(r"\d|\\boxed", text)
    turn = NEXT_TURN.search(text, answered.end()) if answered else None
    return turn.start() if turn else None


def statements(text: str) -> list[Statement]:
    """Every statement of an answer, in order of their marks."""
    found = [Statement("hash", at.start(), at.end(), _line_end(text, at.end())) for at in _HASH.finditer(text)]
    found += [_box(text, at) for at in list(_BOX.finditer(text))[-_MOST_BOXES:]]
    for at in _SAYS.finditer(text):
        start = _content_start(text, at.end())
        found.append(Statement("says", at.start(), start, _says_end(text, start)))
    for at in _IS_THE_ANSWER.finditer(text):
        found.append(Statement("says", at.start(), at.start(), at.end()))
    return sorted(found, key=lambda one: (one.mark, one.start))


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _content_start(text: str, start: int) -> int:
    """Past signs and line ends, to where the answer is written."""
    while start < len(text) and text[start] in "*_ \t\n:\u00a0":
        start += 1
    return start


def _says_end(text: str, start: int) -> int:
    """The end of the line, or of a displayed formula that begins here."""
    for opens, closes in (("$$", "$$"), ("\\[", "\\]")):
        if text.startswith(opens, start):
            end = text.find(closes, start + 2)
            return end + 2 if end >= 0 else _line_end(text, start)
    return _line_end(text, start)


def _box(text: str, at: re.Match[str]) -> Statement:
    """The content between balanced braces; without braces the next word."""
    start = at.end()
    if start >= len(text) or text[start] != "{":
        word = re.compile(r"[^\s$\\]+").match(text, start)
        end = word.end() if word else start
        return Statement("box", at.start(), start, end, closed=end > start)
    depth = 0
    for place in range(start, len(text)):
        if text[place - 1] == "\\":
            continue
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return Statement("box", at.start(), start + 1, place)
    return Statement("box", at.start(), start + 1, _line_end(text, start), closed=False)


def taken_back(text: str, end: int) -> int | None:
    """Where, after an answer that ends at `end`, the text begins to correct it; None where it stands by it."""
    cue = _TAKES_BACK.search(text, end)
    if not cue or _CONFIRMS.search(text, cue.end()):
        return None
    return cue.end()


def last_line(text: str) -> tuple[int, int]:
    """Where the last line that says something stands; closing signs of a formula alone say nothing."""
    end = len(re.sub(r"(?:\s|\\\]|\\\)|\$\$)+\Z", "", text))
    start = text.rfind("\n", 0, end) + 1
    return start, end
