r"""Where a text states its final answer: `####`, `\boxed{}`, "the answer is", and what takes such an answer back."""

import re
from dataclasses import dataclass
from typing import Literal

from layerlimits.scoring.headings import are_headings

Kind = Literal["hash", "box", "says", "tag"]

_WORD = r"(?:answers?|ans|答案|答え|réponse|respuesta|antwort|risposta|resposta|ответ|उत्तर|الجواب|الإجابة)"
_LINKS = r"(?:\b(?:is|are|was|equals|be|to be|es|est|ist|é|è)\b(?!n't)|=|:|是|为|は|है|هو|هي)"
_SAYS = re.compile(
    rf"(?<![A-Za-z</_-]){_WORD}(?:"
    rf"(?![ ](?:the|this|that|these|with|each|all|any)\b)[^\n.:=!?]{{0,100}}?{_LINKS}[ \u00a0:]*"
    r"|[*_]{0,3}[ ]-{1,2}[ ]+(?=\S)"
    r"|[*_ ]{0,4}(?=\n))",
    re.IGNORECASE,
)
_IS_THE_ANSWER = re.compile(
    r"\b(?:is|are)\s+(?:the|my|our|your)\s+(?:final |correct |right )*"
    r"(?:answer|result|total|sum|difference|product)\b",
    re.IGNORECASE,
)
_CLOSES_FORMULA = ("\\]", "\\)", "$$")
_LONGEST_SUBJECT = 80
_LONGEST_HEADING = 300
_HASH = re.compile(r"#{4}(?!#)[ \t:]*")
# A text that repeats itself may open thousands; each is looked through to its end.
_MOST_BOXES = 50
_BOX = re.compile(r"\\(?:boxed|fbox)\s*")
_TAG = re.compile(r"<(?:final[_ ]?)?(?:answer|solution)>", re.IGNORECASE)

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

    `closed` is False for a box whose brace is missing, and for an answer's tag that no tag closes.
    """

    kind: Kind
    mark: int
    start: int
    end: int
    closed: bool = True


def statements(text: str, *, finished: bool = True) -> list[Statement]:
    """Every statement of an answer, in order of their marks; `####` before a heading states none."""
    places = hashes(text, finished=finished)
    places += [_box(text, match) for match in list(_BOX.finditer(text))[-_MOST_BOXES:]]
    places += [_tag(text, match) for match in list(_TAG.finditer(text))[-_MOST_BOXES:]]
    for match in _SAYS.finditer(text):
        start = _content_start(text, match.end())
        places.append(Statement("says", match.start(), start, _says_end(text, start)))
    for match in _IS_THE_ANSWER.finditer(text):
        start = _clause_start(text, match.start())
        places.append(Statement("says", start, start, match.end()))
    return sorted(places, key=lambda place: (place.mark, place.start))


def hashes(text: str, *, finished: bool) -> list[Statement]:
    """Every `####` line that is no heading."""
    places = [
        Statement("hash", match.start(), match.end(), _line_end(text, match.end())) for match in _HASH.finditer(text)
    ]
    ends = [*(place.mark for place in places[1:]), len(text)]
    contents = [text[place.start : min(place.end, place.start + _LONGEST_HEADING)] for place in places]
    followed = [text[place.end : end] for place, end in zip(places, ends, strict=False)]
    headings = are_headings(contents, followed, finished=finished)
    return [place for place, heading in zip(places, headings, strict=True) if not heading]


def _tag(text: str, match: re.Match[str]) -> Statement:
    """The content between `<answer>` and the next closing tag."""
    end = text.find("</", match.end())
    return Statement("tag", match.start(), match.end(), end if end >= 0 else len(text), closed=end >= 0)


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _clause_start(text: str, end: int) -> int:
    """Where the sentence that goes on at `end` begins, or so many characters before."""
    first = max(0, end - _LONGEST_SUBJECT)
    return max(first, *(text.rfind(sign, first, end) + 1 for sign in "\n.!?"))


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


def _box(text: str, match: re.Match[str]) -> Statement:
    """The content between balanced braces; without braces the next word."""
    start = match.end()
    if start >= len(text) or text[start] != "{":
        word = re.compile(r"[^\s$\\]+").match(text, start)
        end = word.end() if word else start
        return Statement("box", match.start(), start, end, closed=end > start)
    depth = 0
    for place in range(start, len(text)):
        if text[place - 1] == "\\":
            continue
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return Statement("box", match.start(), start + 1, place)
    return Statement("box", match.start(), start + 1, _line_end(text, start), closed=False)


def is_taken_back(text: str, end: int) -> bool:
    """Whether a text corrects an answer that ends at `end`."""
    return taken_back(text, end) is not None


def taken_back(text: str, end: int) -> int | None:
    """Where, after an answer that ends at `end`, the text begins to correct it; None where it stands by it."""
    cue = _TAKES_BACK.search(text, end)
    if not cue or _CONFIRMS.search(text, cue.end()):
        return None
    return cue.end()


def last_line(text: str) -> tuple[int, int]:
    """Where the last line that says something stands; closing signs of a formula alone say nothing."""
    rest = text.rstrip()
    while rest.endswith(_CLOSES_FORMULA):
        rest = rest[:-2].rstrip()
    end = len(rest)
    start = text.rfind("\n", 0, end) + 1
    return start, end
