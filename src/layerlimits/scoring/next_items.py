"""Detect where a model that failed to stop continues with a new item of its own."""

import re
from collections.abc import Iterator
from itertools import islice

from layerlimits.scoring.statements import is_taken_back, statements

_ITEM = r"(?:(?:Next|New|Another)[ ])?(?:Question|Problem|Exercise|Example|Instructions?|Input|User|Human)"
NEXT_TURN = re.compile(
    r"\n[ \t]{0,8}(?:"
    # A heading with a colon, or a role.
    r"(?:[#*]{1,6}[ ]?)?(?:(?:(?:Next|New|Another)[ ])?(?:Question|Problem|Exercise|Q)[ ]?\d{0,3}[ ]?[:.]"
    r"|(?:Human|User|Instruction)[ ]?:)"
    # A Markdown heading.
    rf"|#{{1,6}}[ ]{{0,2}}\**{_ITEM}[ ]?\d{{0,3}}[ ]?\**[:.]?\**[ \t]{{0,8}}(?=\n)"
    # A numbered heading on its own line.
    r"|\**(?:Example|Question|Problem|Exercise)[ ]\d{1,3}[ ]?\**(?::|[.]?\**[ \t]{0,8}(?=\n))"
    # What remains of a chat template's turn marker when special tokens are skipped in decoding.
    r"|(?:user|human|assistant|model)[ \t]{0,8}(?=\n)"
    r")"
)
_DIGIT_OR_BOX = re.compile(r"\d|\\boxed")
_FORMAL = re.compile(
    r"^(?:[ \t]*#{4}(?!#)[^\n]*\d|[^\n]*\\boxed\{|[ \t>*_]*(?:Final )?Answer[*_ ]*[:-]"
    r"|[^\n]*\b[Tt]he (?:\w+ )?answer is\b)[^\n]*$",
    re.MULTILINE,
)
_ANSWER_LINE = re.compile(
    r"^[ \t]*(?:#{4}(?!#)|(?:\*\*)?Answer:)[ \t*]*[^\w\n]{0,3}\d[\d.,]*[^\n\d]{0,40}$", re.MULTILINE
)
_ASKS = re.compile(r"\b(?:how|what|which|who|whom|whose|when|where|find|calculate|determine)\b", re.IGNORECASE)
_CHECKS = re.compile(
    r"\b(?:let me|let us|let's|(?:is|does|was|did) (?:this|that|it)|check|verify|correct|right|wait|actually|sorry|"
    r"mistake|would you|do you want)\b",
    re.IGNORECASE,
)
_LIST = re.compile(r"^[ \t>*_#-]{0,8}\(?A[.):][*_]*[ \t]+(\S[^\n]*)\n[ \t>*_#-]{0,8}\(?B[.):][*_]*[ \t]", re.MULTILINE)
# How far before and after a position an item is searched for, how many positions are tried, the longest short answer in
# words, and the number of words in a bare number with its unit.
_WINDOW = 3_000
_MOST_PLACES = 20
_FEW_WORDS = 10
_BARE_WORDS = 2
_DOUBT = 40


def next_item(text: str, question: str = "", instruction: str = "") -> int | None:
    """Position where the answer ends and a new item begins, or None.

    This is the first of: a heading or role that introduces a question, a repetition of the prompt's instruction, a
    question after a complete answer, and a question worded like the one asked. Before any answer, such text is taken
    for a repetition of the question asked.
    """
    digit = _DIGIT_OR_BOX.search(text)
    if not digit:
        return None
    places = [turn.start() for turn in islice(NEXT_TURN.finditer(text, digit.end()), _MOST_PLACES)]
    places += [_item_start(text, place) for place in _repetitions(text, instruction)]
    places += _same_form(text, question)
    ends = [place for place in places if place > digit.start() and _begins(text, place, question)]
    return min([*ends, *_questions_after_answers(text)], default=None)


def next_turns(text: str, options: tuple[str, ...], instruction: str = "") -> list[int]:
    """All positions where a new item may begin, in order, whether or not an answer precedes them.

    Args:
        options: The options of the question asked; a list of different options belongs to another question.
    """
    places = [turn.start() for turn in islice(NEXT_TURN.finditer(text), _MOST_PLACES)]
    places += [_item_start(text, place) for place in _repetitions(text, instruction)]
    for listed in islice(_LIST.finditer(text), _MOST_PLACES):
        start = _item_start(text, listed.start())
        before = text[max(0, start - _WINDOW) : start]
        if not _same_words(listed[1], options[0]) and (_FORMAL.search(before) or _is_short(text, start)):
            places.append(start)
    return sorted({place for place in places if place > 0})[:_MOST_PLACES]


def _begins(text: str, place: int, question: str) -> bool:
    """Whether a new item begins here, rather than a repetition of the question asked before its answer."""
    if not _repeats(text[place : place + _WINDOW], question) or len(text[:place].split()) <= _BARE_WORDS:
        return True
    before = text[max(0, place - _WINDOW) : place]
    return any(_DIGIT_OR_BOX.search(before, statement.mark, statement.end) for statement in statements(before))


def _is_short(text: str, place: int) -> bool:
    return place < _WINDOW and len(text[:place].split()) <= _FEW_WORDS


def _repeats(text: str, question: str) -> bool:
    """Whether the words at the start of a text are mostly those of the question asked."""
    asked = set(re.findall(r"\w+", question.lower()))
    begins = re.findall(r"\w+", text.lower())[: max(8, len(asked) // 2)]
    return bool(asked) and sum(word in asked for word in begins) >= 0.75 * len(begins)


def _same_words(first: str, second: str) -> bool:
    return first.strip(" .*_").casefold().split() == second.strip(" .*_").casefold().split()


def _repetitions(text: str, instruction: str) -> Iterator[int]:
    """Positions where the prompt's instruction is repeated, with any line breaks."""
    words = instruction.split()
    if not words:
        return iter(())
    pattern = re.compile(r"\s{1,4}".join(map(re.escape, words)))
    return (match.start() for match in islice(pattern.finditer(text), _MOST_PLACES))


def _item_start(text: str, place: int) -> int:
    """Start of the item whose instruction or options are at this position.

    It starts after the last complete answer that is not retracted, otherwise at the preceding paragraph or line.
    """
    first = max(0, place - _WINDOW)
    before = text[first:place].rstrip()
    paragraph = max(before.rfind("\n\n"), 0) or max(before.rfind("\n"), 0)
    for answer in reversed(list(_FORMAL.finditer(before))):
        if answer.end() >= paragraph or not is_taken_back(before[:paragraph], answer.end()):
            return first + answer.end()
        break
    return first + paragraph


def _questions_after_answers(text: str) -> Iterator[int]:
    """Ends of complete answers that are followed by a new question rather than by doubt about the answer."""
    for answer in islice(_ANSWER_LINE.finditer(text), _MOST_PLACES):
        follows = text[answer.end() : answer.end() + _WINDOW]
        following = _FORMAL.search(follows, 1)
        asked = re.compile(r"\?[ \t]*(?=\n|\Z)").search(follows, 0, following.start() if following else len(follows))
        item = follows[: asked.end()].strip() if asked else ""
        sentences = re.split(r"(?<=[.!?])\s+", item)
        words = len(item.split())
        has_amounts = bool(re.search(r"\d", item)) or (len(sentences) > 1 and words >= 2 * _FEW_WORDS)
        long_enough = len(sentences) > 1 or words >= _FEW_WORDS
        # Doubt about the answer is expressed right away.
        if long_enough and has_amounts and _ASKS.search(item) and not _CHECKS.search(item[:_DOUBT]):
            yield answer.end()


def _same_form(text: str, question: str) -> Iterator[int]:
    """Where a line after a short answer begins with the first two words of a one-sentence question."""
    words = question.split()
    if len(words) < 3 or not question.endswith("?") or re.search(r"[.!?]\s", question):
        return iter(())
    pattern = re.compile(
        rf"\n[ \t]{{0,8}}{re.escape(words[0])} {re.escape(words[1])} [^\n]{{1,500}}\?[ \t]{{0,8}}(?=\n|\Z)"
    )
    return (match.start() for match in islice(pattern.finditer(text), 1) if _is_short(text, match.start()))
