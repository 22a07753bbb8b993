r"""Find where a text states its final answer (`####`, `\boxed{}`, "the answer is") and where it retracts one."""

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
# A repetitive text may contain thousands of boxes, and each is scanned to its end.
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
    """A stated answer: its kind, the position of its mark, and the start and end of the answer.

    `closed` is False for a box without a closing brace and for a tag without a closing tag.
    """

    kind: Kind
    mark: int
    start: int
    end: int
    closed: bool = True


def statements(text: str, *, finished: bool = True) -> list[Statement]:
    """All stated answers, in order of their marks; `####` before a heading does not count."""
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
    """All `####` lines that are not headings."""
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
    """Start of the sentence that continues at `end`, at most `_LONGEST_SUBJECT` characters before."""
    first = max(0, end - _LONGEST_SUBJECT)
    return max(first, *(text.rfind(sign, first, end) + 1 for sign in "\n.!?"))


def _content_start(text: str, start: int) -> int:
    """Skip markup and line ends up to the start of the answer."""
    while start < len(text) and text[start] in "*_ \t\n:\u00a0":
        start += 1
    return start


def _says_end(text: str, start: int) -> int:
    """End of the line, or of the displayed formula that begins here."""
    for opens, closes in (("$$", "$$"), ("\\[", "\\]")):
        if text.startswith(opens, start):
            end = text.find(closes, start + 2)
            return end + 2 if end >= 0 else _line_end(text, start)
    return _line_end(text, start)


def _box(text: str, match: re.Match[str]) -> Statement:
    """The content between balanced braces, or the next word if there are no braces."""
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
    """Whether the text retracts an answer that ends at `end`."""
    return taken_back(text, end) is not None


def taken_back(text: str, end: int) -> int | None:
    """Position where the text begins to retract an answer that ends at `end`; None if it does not."""
    cue = _TAKES_BACK.search(text, end)
    if not cue or _CONFIRMS.search(text, cue.end()):
        return None
    return cue.end()


def last_line(text: str) -> tuple[int, int]:
    """Start and end of the last non-empty line; closing delimiters of a formula alone do not count."""
    rest = text.rstrip()
    while rest.endswith(_CLOSES_FORMULA):
        rest = rest[:-2].rstrip()
    end = len(rest)
    start = text.rfind("\n", 0, end) + 1
    return start, end
