"""Text around the number that answers a question: its parts, durations, the same amount in other units, courtesies."""

import re

from layerlimits.scoring import units
from layerlimits.scoring.numerals import Number

_COURTESY = re.compile(
    r"(?:^|(?<=[.!?])[ ]+)[*_ \t]*(?:please[ ]|and[ ])?(?:let me know|feel free|i hope|hope (?:this|that|it)\b|thank|"
    r"would you like|do you (?:want|need)|if you(?:'d| would)? (?:have|need|want|like) "
    r"(?:any|more|further|other|another|me|to|help|\d+ (?:more|other|further|additional))\b|is there anything|"
    r"don't hesitate|shall i|should i|"
    r"(?:want|need) (?:me|more|another|\d+ more)\b|i(?:'d| would| can| could|'ll| will| am|'m) (?:also )?(?:be )?"
    r"(?:happy|glad|give you|show you|help you)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_LONGEST_COURTESY = 300
_PARTS = re.compile(
    r"(?<=[\w%])[ ]\([ ]?[$€£]?\d[\d.,]{0,20}(?:[ ]?[-+*/×÷·=x][ ]?[$€£]?\d[\d.,]{0,20}){1,20}[ ]?\)"
    r"(?![ ]?[-+*/×÷·=x^])"
)
_QUALIFIES = re.compile(
    r"\b(?:(?P<time>(?:in|over|within|during|for|per|every|after)\s+"
    r"(?:(?:just|only|about|the|a|these|those|next|last|first|each|all|of)\s+){0,3})"
    r"|out of\s+|of the\s+|from the\s+|instead of\s+|rather than\s+)\Z",
    re.IGNORECASE,
)
_OR = re.compile(
    r"\s?[A-Za-z$¢°]{1,20}\s*[,;]?\s*(?:\(|=|\bor\b|\bi\.e\.,?|\bthat is,?|\bwhich is\b|\bwhich equals\b)"
    r"[\s(]*(?:(?:or|also|equal to|equivalent to|the same as|exactly|just)\s+)?[$]?\Z"
)


def courtesy_start(text: str) -> int:
    """Start of a closing courtesy ("Let me know if you'd like 2 more examples!"), or the end of the text if none."""
    for courtesy in _COURTESY.finditer(text, max(0, len(text) - _LONGEST_COURTESY)):
        if "=" not in text[courtesy.start() :] and re.search(r"\d", text[: courtesy.start()]):
            return courtesy.start()
    return len(text)


def without_parts(text: str, numbers: list[Number]) -> list[Number]:
    """Drop the numbers of a calculation in brackets that follows its result, as in "12 (5 + 7)"."""
    parts = [(match.start(), match.end()) for match in _PARTS.finditer(text)]
    outside = [number for number in numbers if not any(start <= number.start < end for start, end in parts)]
    return outside or numbers


def main(text: str, numbers: list[Number], wanted: str) -> Number:
    """The last number that does not qualify another one: 12 in "12 apples in 2 days" and in "12 out of the 20".

    Args:
        wanted: The unit the question asks for. If it is a unit of time, a time can be the answer.
    """
    rest = list(numbers)
    while len(rest) > 1 and _qualifies(text, rest[-1], rest[-2], wanted):
        rest.pop()
    return rest[-1]


def _qualifies(text: str, number: Number, before: Number, wanted: str) -> bool:
    qualifier = _QUALIFIES.search(text, max(before.end, number.start - 60), number.start)
    if not qualifier:
        return False
    if not qualifier["time"]:
        return True
    return units.is_time(number.unit) and not units.is_time(wanted) and not units.is_time(before.unit)


def in_unit(text: str, answer: Number, numbers: list[Number], wanted: str) -> Number:
    """The same amount in the wanted unit, if the text gives it next to the answer, as in "60 minutes, or 1 hour"."""
    if not wanted or not units.differ(answer.unit, wanted):
        return answer
    place = next((place for place, number in enumerate(numbers) if number.start == answer.start), None)
    if place is None:
        return answer
    for first, second in ((place - 1, place), (place, place + 1)):
        if first < 0 or second == len(numbers):
            continue
        left, right = numbers[first], numbers[second]
        other = right if second > place else left
        factor = units.ratio(other.unit, answer.unit)
        if units.differ(other.unit, wanted) or factor is None or other.value * factor != answer.value:
            continue
        if _OR.fullmatch(text, left.end, right.start):
            return other
    return answer
