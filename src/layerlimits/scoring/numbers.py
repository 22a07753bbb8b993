"""Score answers that are a single number."""

import re

from layerlimits.scoring.answers import clean
from layerlimits.scoring.statements import hashes
from layerlimits.scoring.transcript import OwnAnswer
from layerlimits.types import Response, Verdict

_LABEL = re.compile(r"^#{1,6}[ \t*]{0,4}\d{1,2}[.):](?=\s)", re.MULTILINE)
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


def after_marker(text: str, *, finished: bool = True) -> str | None:
    """The number after the last "####" that is not a heading, as in GSM8K answers; None if there is none."""
    marks = hashes(text, finished=finished)
    match = _NUMBER.search(text, marks[-1].start) if marks else None
    return _plain(match.group()) if match else None


def last_number(text: str) -> str | None:
    """The last number in the text; a minus sign counts unless it follows a digit."""
    matches = list(_NUMBER.finditer(text))
    if not matches:
        return None
    match = matches[-1]
    number, before = match.group(), text[: match.start()].rstrip()
    if number.startswith("-") and before[-1:].isdigit():
        number = number[1:]
    return _plain(number)


def _plain(number: str) -> str:
    return number.replace(",", "")


def same(answer: str, target: str) -> bool:
    """Whether two number strings have the same value."""
    return float(answer) == float(_plain(target))


def judge(response: Response, target: str, question: str = "", *, marker: bool) -> Verdict:
    """Score a numeric answer.

    With `marker`, the number after "####" counts; if a finished answer has no "####", the last number counts and `why`
    says so. Without `marker`, the last number counts. If the model continues with a new question of its own, the answer
    ends there.
    """
    own = clean(response, question=question)
    answer, why = (after_marker(own.text, finished=own.finished), "") if marker else (None, "")
    if answer is None and own.finished:
        answer, why = last_number(_LABEL.sub("", own.text)), "no ####" if marker else ""
    if answer is None:
        return _unanswered(response, own)
    right = same(answer, target)
    return Verdict("correct" if right else "wrong", float(right), answer, why)


def _unanswered(response: Response, own: OwnAnswer) -> Verdict:
    if not own.finished:
        return Verdict("truncated", 0.0, why=f"truncated after {len(response.tokens)} tokens without an answer")
    return Verdict("no_answer", 0.0, why="contains no number")
