"""Score responses to multiple-choice questions whose options are listed as "A. ...", "B. ..."."""

import re
from collections.abc import Sequence
from itertools import pairwise
from string import ascii_uppercase
from typing import NamedTuple

from layerlimits.errors import UserError
from layerlimits.scoring.answers import clean
from layerlimits.scoring.naming import Named, joined, letters, only, without_list, words
from layerlimits.scoring.next_items import next_turns
from layerlimits.scoring.numerals import ascii_signs, without_latex
from layerlimits.scoring.statements import Kind, last_line, statements, taken_back
from layerlimits.scoring.transcript import own_answer
from layerlimits.types import Response, Verdict

# A repetitive text may state thousands of answers; only the last ones are read, each up to a bounded length.
_MOST_PLACES = 200
_LONGEST_STATEMENT = 500

_TOKEN = re.compile(r"\(?([A-Z])[.)]?")
_STRICT = re.compile(r"\s*Answer: ?([A-Z])\.?\s*")
_DENIES = re.compile(r"\b(?:not|never|cannot|neither)\b|n't\b", re.IGNORECASE)
_SUPPOSES = re.compile(r"\b(?:if|whether|suppose|assume|assuming|unless|were)\s+(?:\w+\s+){0,3}\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?:(?<!\b[A-Za-z])\.|[!?])(?=[\s*_\"”)]|\Z)")
_CHOOSES = re.compile(
    r"\b(?:I(?:['’]d|['’]ll|['’]m|[ ]would|[ ]will|[ ]am)?[ ]"
    r"(?:choose|chose|choosing|pick|select|go with|go for|going with|say)"
    r"|my (?:choice|pick|guess) is"
    r"|(?:correct|right|best|final|true)[ ](?:option|choice|one|letter|statement)[ ]?"
    r"(?:is|must be|would be|should be|:)"
    # Many things can follow "it is": only a letter that ends the clause counts as an answer.
    r"|it(?:['’]s|[ ]is|[ ]must be|[ ]has to be)(?=[ ]\W{0,4}(?:option[ ])?[A-Z]\b[)*\]]*(?:[.,;!]|\s*\Z|\n)))[ :*]*",
    re.IGNORECASE,
)
_IS_RIGHT = re.compile(
    r"\b(?:is|must be|has to be|seems)[ ](?:\w+ly[ ])?(?:the[ ])?(?:correct|right|best)\b(?! if| only)",
    re.IGNORECASE,
)
_CONCLUDES = re.compile(
    r"\b(?:so|therefore|thus|hence|overall|consequently|in conclusion|finally|leaves|leaving|left with|must be)\b|∴",
    re.IGNORECASE,
)
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,200})\*\*(?!\s*:)")
_NOTHING = re.compile(r"[\W_]*")
_HOW: dict[Kind, str] = {"hash": "after ####", "box": "boxed", "says": "stated in words", "tag": "within an answer tag"}


class _Place(NamedTuple):
    """Where a text states its answer: the last option named there if `last`, otherwise the first."""

    start: int
    end: int
    how: str
    last: bool = False


def lettered(question: str, options: Sequence[str]) -> str:
    """Append the options to the question, one per line, as "A. ...".

    Raises:
        UserError: There are more options than letters.
    """
    if len(options) > len(ascii_uppercase):
        raise UserError(
            f"a question has {len(options)} options, but there are only 26 letters", "reduce the number of options"
        )
    listed = [f"{letter}. {' '.join(option.split())}" for letter, option in zip(ascii_uppercase, options, strict=False)]
    return "\n".join([question, *listed])


def judge_letter(response: Response, options: Sequence[str], target: str) -> Verdict:
    """Score one generated token: a listed letter, alone or as "(B", "B." or "B)"; anything else is no answer.

    `Verdict.answer` is the text of the option.
    """
    token = _TOKEN.fullmatch(own_answer(response).text.strip())
    option = ascii_uppercase.index(token[1]) if token else len(options)
    if option >= len(options):
        return Verdict("no_answer", 0.0, why="not a listed letter")
    return _verdict(option, options, target)


def judge_free(response: Response, options: Sequence[str], target: str, *, instruction: str = "") -> Verdict:
    """Score a free-form answer: `value` by the last answer stated, `strict` by a last line "Answer: X".

    Letters take precedence over the words of an option. If no answer is stated explicitly, the conclusion of a finished
    text is used; merely weighing options against each other is no answer. `Verdict.answer` is the text of the option.

    Args:
        instruction: The text after the options in the prompt; a response that repeats it has begun a new item.
    """
    own = clean(response)
    shown = tuple(without_latex(ascii_signs(option)) for option in options)
    text, option, how = _own(without_latex(ascii_signs(own.text)), shown, instruction, finished=own.finished)
    formal = _STRICT.fullmatch(text, *last_line(text))
    index = ascii_uppercase.index(formal[1]) if formal else len(options)
    strict = float(index < len(options) and options[index] == target)
    if option is not None:
        return _verdict(option, options, target, how, strict)
    if own.finished:
        return Verdict("no_answer", 0.0, why="no option stated", strict=strict)
    return Verdict(
        "truncated", 0.0, why=f"truncated after {len(response.tokens)} tokens without an answer", strict=strict
    )


def _verdict(option: int, options: Sequence[str], target: str, how: str = "", strict: float | None = None) -> Verdict:
    assert target in options, f"the target is not an option: {target!r}"
    right = options[option] == target
    why = how if right else f"{ascii_uppercase[option]}, not {ascii_uppercase[options.index(target)]}"
    return Verdict("correct" if right else "wrong", float(right), options[option], why, strict)


def _own(text: str, options: tuple[str, ...], instruction: str, *, finished: bool) -> tuple[str, int | None, str]:
    """The text up to the first new question after an answer, the answer, and how it was recognized."""
    for turn in next_turns(text, options, instruction):
        option, how = _final(text[:turn], options, finished=True)
        if option is not None:
            return text[:turn], option, how
    return text, *_final(text, options, finished=finished)


def _final(text: str, options: tuple[str, ...], *, finished: bool) -> tuple[int | None, str]:
    """The option a text settles on, and how it was recognized."""
    text = without_list(text, options)
    for place in reversed(_stated(text, finished=finished)[-_MOST_PLACES:]):
        named = _given(text, place, options)
        if named is None:
            continue
        back = taken_back(text, named.end) if finished else None
        later = _concluded(text[back:], options) if back is not None else None
        return (named.option, place.how) if later is None else (later, "corrected later")
    return (_concluded(text, options) if finished else None), "no explicit statement"


def _stated(text: str, *, finished: bool) -> list[_Place]:
    """Where the text states the answer, in order, without denials and suppositions."""
    places = [
        _Place(
            statement.start,
            statement.end,
            _HOW[statement.kind],
            statement.kind == "says" and statement.mark == statement.start,
        )
        for statement in statements(text, finished=finished)
        if (statement.closed or finished)
        and not _DENIES.search(text, statement.mark, statement.start)
        and not _supposed(text, statement.mark)
    ]
    for match in _CHOOSES.finditer(text):
        if not _supposed(text, match.start()):
            places.append(_Place(match.end(), _line(text, match.end())[1], _HOW["says"]))
    for match in _IS_RIGHT.finditer(text):
        start = _clause(text, match.start())
        if not _SUPPOSES.search(text, start, match.start()):
            places.append(_Place(start, match.end(), _HOW["says"], last=True))
    return sorted(places)


def _supposed(text: str, mark: int) -> bool:
    return _SUPPOSES.search(text, max(0, mark - 40), mark) is not None


def _line(text: str, place: int) -> tuple[int, int]:
    end = text.find("\n", place)
    return text.rfind("\n", 0, place) + 1, len(text) if end < 0 else end


def _clause(text: str, place: int) -> int:
    """Start of the clause that contains this position."""
    start = _sentence(text, max(_line(text, place)[0], place - _LONGEST_STATEMENT), place)
    return max([start, *(comma.end() for comma in re.compile(r"[,;]").finditer(text, start, place))])


def _sentence(text: str, start: int, end: int) -> int:
    """Start of the last sentence between two positions."""
    ends = [
        match.end()
        for match in _SENTENCE_END.finditer(text, start, end)
        if not _NOTHING.fullmatch(text, match.end(), end)
    ]
    return max([start, *ends])


def _given(text: str, place: _Place, options: tuple[str, ...]) -> Named | None:
    """The option a statement names, by letter or else in words; None if it names none or several."""
    last = min(place.end, place.start + _LONGEST_STATEMENT)
    stop = _SENTENCE_END.search(text, place.start, last)
    end = stop.end() if stop else last
    named = letters(text, place.start, end, options) or words(text, place.start, end, options)
    if not named:
        return None
    if place.last:
        named.reverse()
    other = next((name for name in named if name.option != named[0].option), None)
    if other and (joined(text, named[0], other) or joined(text, other, named[0])):
        return None
    return named[0]


def _concluded(text: str, options: tuple[str, ...]) -> int | None:
    """The option implied by a text that states no answer: in bold, in its conclusion, or the only one named."""
    named = letters(text, 0, len(text), options)
    begins = {match.start() for match in _BOLD.finditer(text)}
    bold = only([name for name in named if name.start in begins])
    answer = bold or _of_conclusion(text, options) or _by_mark(text, named) or _in_words(text, named, options)
    return answer.option if answer else None


def _of_conclusion(text: str, options: tuple[str, ...]) -> Named | None:
    """The only option after "so" in the last sentence."""
    start, end = last_line(text)
    concludes = _CONCLUDES.search(text, _sentence(text, start, end), end)
    if not concludes:
        return None
    return only(letters(text, concludes.end(), end, options) or words(text, concludes.end(), end, options))


def _by_mark(text: str, named: list[Named]) -> Named | None:
    """The only option whose letter is marked, begins the text or is alone on its line."""
    begins = len(text) - len(text.lstrip())
    sure = {name for name in named if name.marked or name.start == begins or _alone(text, name)}
    pairs = [pair for pair in pairwise(named) if sure.intersection(pair) and joined(text, *pair)]
    return only([*sure, *(name for pair in pairs for name in pair)])


def _alone(text: str, name: Named) -> bool:
    start, end = _line(text, name.start)
    return bool(_NOTHING.fullmatch(text, start, name.start) and _NOTHING.fullmatch(text, name.end, end))


def _in_words(text: str, named: list[Named], options: tuple[str, ...]) -> Named | None:
    """The only option written out, if it ends the last sentence or begins the only one and no letter contradicts it."""
    written = only(words(text, 0, len(text), options))
    if not written or any(name.option != written.option for name in named):
        return None
    start, end = last_line(text)
    last = _sentence(text, start, end)
    ends = words(text, last, end, options)
    if not ends:
        return None
    only_one = _NOTHING.fullmatch(text, 0, last) and _NOTHING.fullmatch(text, last, ends[0].start)
    return written if only_one or _NOTHING.fullmatch(text, ends[-1].end, end) else None
