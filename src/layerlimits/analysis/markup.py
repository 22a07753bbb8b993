"""Written solutions as plain arithmetic: LaTeX, list marks, units and percentages replaced, with the former places."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

SIGNS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u22c5": "*", "\u00f7": "/", "\u2212": "-", "\u2013": "-"})
_WORD = r"[A-Za-z]{2,15}(?:/[A-Za-z]{2,15})?"
_NAMED = r"\\(?:text|mathrm|textbf|mathbf)\{[^{}]{0,80}\}"
Replace = Callable[[re.Match[str]], str]


@dataclass(frozen=True)
class PlainText:
    """A text, and for each of its characters the place of the original text that it comes from."""

    text: str
    places: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The characters of the original text that became those from `start` to `end`."""
        return self.places[start], self.places[end - 1] + 1

    def replaced(self, pattern: re.Pattern[str], replace: Replace) -> "PlainText":
        """The text with its matches replaced; a character of a match that stays keeps its place."""
        parts, places, done = list[str](), list[int](), 0
        for match in pattern.finditer(self.text):
            new = replace(match)
            parts += [self.text[done : match.start()], new]
            places += self.places[done : match.start()]
            places += _places(match[0], new, self.places[match.start() : match.end()])
            done = match.end()
        return PlainText("".join(parts) + self.text[done:], (*places, *self.places[done:]))


def _places(old: str, new: str, places: tuple[int, ...]) -> list[int]:
    """The places of the characters of a replacement, in order: those of the same characters, or of the last one."""
    found, at = list[int](), 0
    for character in new:
        place = old.find(character, at)
        at = at if place < 0 else place
        found.append(places[at])
        at += place >= 0
        at = min(at, len(old) - 1)
    return found


def _percentage(match: re.Match[str]) -> str:
    return f"{Decimal(match[1].replace(',', '')) / 100:f}"


# In this order. Every repeat has a bound, so that reading takes time in proportion to the length of a text.
_RULES: tuple[tuple[re.Pattern[str], Replace], ...] = (
    # Units; names, which are unknown values; spacing; and the marks around formulas and bold text.
    (re.compile(rf"(?<=[\d%}}]) ?(?:\\[,;! ])? ?{_NAMED}"), lambda _: " "),
    (re.compile(_NAMED), lambda _: "?"),
    (re.compile(r"(?<![\d)])\*\*|\*\*(?![\d(])"), lambda _: " "),
    (re.compile(r"\\(?:left|right|displaystyle|quad|qquad|[,;!()\[\] ])"), lambda _: " "),
    (re.compile(r"\\([$%])"), lambda match: match[1]),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), lambda _: ","),
    (re.compile(r"\\(?:times|cdot|ast)(?![A-Za-z])"), lambda _: "*"),
    (re.compile(r"\\div(?![A-Za-z])"), lambda _: "/"),
    (re.compile(r"\\[dt]?frac ?\{([^{}]{1,60})\}\{([^{}]{1,60})\}"), lambda match: f"(({match[1]})/({match[2]}))"),
    # A dash or a number that begins a line of a list.
    (re.compile(r"(?m)^[ \t]{0,12}(?:[-*+\u2022]|\d{1,3}[.)])(?=[ \t])"), lambda _: " "),
    (re.compile(r"(?<=[\d)])(?: x |x)(?=[($]?\d)"), lambda _: "*"),
    # 20% of 50 is 20% * 50.
    (re.compile(r"(?<=%) {1,2}of(?= {1,2}\$?[\d.])"), lambda _: " *"),
    # Units: $20/hour, 3 miles per hour, before an operator or a sign of equality.
    (re.compile(rf"(?<=\d)/{_WORD}(?= ?[-+*/=])"), lambda _: ""),
    (re.compile(rf"(?<=[\d)%]) {_WORD}(?: {_WORD}){{0,2}}(?= ?[-+*/=])"), lambda _: ""),
)
_OPERAND_PERCENTAGE = re.compile(r"(?<![\d,.])(\d[\d,]{0,20}(?:\.\d{1,20})?)%(?=[)\s]{0,4}[-+*/=])")


def plain_text(text: str) -> PlainText:
    """A text in which numbers, + - * / ( ) and = are what is left of formulas.

    A percentage before an operator or a sign of equality becomes a fraction: 20% * 50 is 0.2 * 50.
    """
    plain = PlainText(text.translate(SIGNS), tuple(range(len(text))))
    for pattern, replace in _RULES:
        if pattern.search(plain.text):
            plain = plain.replaced(pattern, replace)
    return plain.replaced(_OPERAND_PERCENTAGE, _percentage)
