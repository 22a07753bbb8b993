"""Find where a text names one of the listed options, by letter or in words, and where it rules one out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from string import ascii_uppercase

_LETTER = re.compile(
    r"""
    (?<![\w(^'’-])
    (?P<label>(?i:options?|choices?|letters?|answers?)[ ]+)?
    (?P<opens>[(\[{<*_"'`“$]{0,9})
    (?: (?P<upper>[A-Z]) | (?P<lower>[a-z])(?=\)) )
    (?P<closes>[)\]}>*_"'`”$:.]{0,9})
    (?![\w'’-])
    """,
    re.VERBOSE,
)
_OPENS, _CLOSES = re.compile(r"[(\[{<*\"'`“]"), re.compile(r"[)\]}>*\"'`”:]")
_LONE_LOWER = re.compile(r"\W*([a-z])\W*")
# What follows "A" or "I" when it is an option's letter rather than a word.
_GOES_ON = re.compile(
    r"[ ](?:because|since|as|for|and|or|but|nor|due|which|with|if|by|is|are|was|would|could|might|may|can|cannot|"
    r"can't|isn't|has|says|states|seems|looks|must|should|does|doesn't|rather|not|instead|over)\b"
)
_WORD_AFTER = re.compile(r"[ ]\w")
_FORMULA = re.compile(r"\s*[=+*^≤≥]|\s+[<>]\s")
_DENIED_BEFORE = re.compile(
    r"(?:\b(?:not|nor|neither|than|instead of|unlike|except|(?:rul|eliminat|exclud|reject|discard)\w*(?: out)?)|n't)"
    r"\s+(?:be\s+|an?\s+|the\s+)?\Z",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"[)\]*_\s]*(?:\([^()\n]{1,80}\)\s*)?"
    r"(?:(?:is|are|was|can|could|does|do|would|must|has)\s*(?:not\b|n't)|cannot\b"
    r"|(?:(?:is|are|was|seems|looks)\s+(?:\w+ly\s+|also\s+)?)?"
    r"(?:wrong|incorrect|false|ruled out|out\b|unlikely|impossible|not\b|too\b)"
    r"|(?:could|might|may)\b|\?)",
    re.IGNORECASE,
)
_JOINS = re.compile(r"(?=\s*[,/&\w])[\s,/&]*(?:(?:and|or|nor|also|both)[\s,]+)*", re.IGNORECASE)
_LISTED = re.compile(r"[ \t>*_#-]*\(?([A-Z])[.):][*_]*[ \t]+(\S.*?)[ \t]*")


@dataclass(frozen=True)
class Named:
    """A mention of an option; `marked` if its letter has a mark around it, `denied` if the text rules it out."""

    option: int
    start: int
    end: int
    marked: bool = False
    denied: bool = False


def letters(text: str, start: int, end: int, options: tuple[str, ...]) -> list[Named]:
    """The letters of options between two positions, except ruled-out ones.

    Words ("A dog"), variables in formulas and parts of an option's own text ("vitamin C") do not count as letters.
    """
    lone = _LONE_LOWER.fullmatch(text, start, end)
    if lone and lone[1] in ascii_uppercase[: len(options)].lower():
        return [Named(ascii_uppercase.index(lone[1].upper()), start, end, marked=True)]
    words = [name for name in _written(text, start, end, options) if name.end - name.start > 1]
    names = []
    for match in _LETTER.finditer(text, start, end):
        name = _named(text, match)
        inside = any(word.start <= match.end("opens") < word.end for word in words)
        if name.option < len(options) and (name.marked or not inside) and not _other(text, match, marked=name.marked):
            names.append(name)
    return _not_denied(text, names)


def words(text: str, start: int, end: int, options: tuple[str, ...]) -> list[Named]:
    """The options written out between two positions, except ruled-out ones."""
    return _not_denied(text, _written(text, start, end, options))


def joined(text: str, first: Named, second: Named) -> bool:
    """Whether two options are named together, as in "A, B or C"."""
    return _JOINS.fullmatch(text, first.end, second.start) is not None


def only(named: Sequence[Named]) -> Named | None:
    """The first mention if all mentions are of the same option, otherwise None."""
    return named[0] if len({name.option for name in named}) == 1 else None


def without_list(text: str, options: tuple[str, ...]) -> str:
    """Remove the list of options if the text repeats it: those lines do not choose an option."""
    lines = text.split("\n")
    repeated = {}
    for number, line in enumerate(lines):
        listed = _LISTED.fullmatch(line)
        index = ascii_uppercase.index(listed[1]) if listed else len(options)
        if listed and index < len(options) and _plain(listed[2]) == _plain(options[index]):
            repeated[number] = index
    if len(set(repeated.values())) < 2:
        return text
    return "\n".join("" if number in repeated else line for number, line in enumerate(lines))


def _plain(text: str) -> list[str]:
    return text.strip(" .*_").casefold().split()


def _named(text: str, match: re.Match[str]) -> Named:
    index = ascii_uppercase.index((match["upper"] or match["lower"]).upper())
    marked = bool(match["label"] or _OPENS.search(match["opens"]) or _CLOSES.search(match["closes"]))
    denied = bool(
        _DENIED_BEFORE.search(text, max(0, match.start() - 30), match.start()) or _DENIED_AFTER.match(text, match.end())
    )
    return Named(index, match.start(), match.end(), marked, denied)


def _other(text: str, match: re.Match[str], *, marked: bool) -> bool:
    """Whether a letter is an article, a pronoun or a variable."""
    if _FORMULA.match(text, match.end()):
        return True
    bare = not marked and not match["closes"] and match["upper"] in ("A", "I")
    return bare and bool(_WORD_AFTER.match(text, match.end())) and not _GOES_ON.match(text, match.end())


def _not_denied(text: str, names: list[Named]) -> list[Named]:
    """Drop ruled-out options and the options named together with them ("A and B are wrong", "neither A nor B")."""
    for order in (range(1, len(names)), range(len(names) - 1, 0, -1)):
        for place in order:
            before, after = names[place - 1 : place + 1]
            if before.denied != after.denied and joined(text, before, after):
                names[place - 1 : place + 1] = replace(before, denied=True), replace(after, denied=True)
    return [name for name in names if not name.denied]


def _written(text: str, start: int, end: int, options: tuple[str, ...]) -> list[Named]:
    """Where options are written out; of overlapping matches the longest counts."""
    names = [
        _spelt(text, index, match)
        for index, pattern in enumerate(_patterns(options))
        for match in pattern.finditer(text, start, end)
    ]
    longest: list[Named] = []
    for name in sorted(names, key=lambda name: (name.start, -name.end)):
        if not longest or name.end > longest[-1].end or (name.start, name.end) == (longest[-1].start, longest[-1].end):
            longest.append(name)
    return longest


def _spelt(text: str, index: int, match: re.Match[str]) -> Named:
    before = _DENIED_BEFORE.search(text, max(0, match.start() - 30), match.start())
    return Named(index, match.start(), match.end(), denied=bool(before or _DENIED_AFTER.match(text, match.end())))


@lru_cache(maxsize=64)
def _patterns(options: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """Patterns for the words of each option, ignoring case and whitespace; numbers match only as a whole."""
    patterns = []
    for option in options:
        content = option.strip(" .").split()
        minus = "(?<!-)" if option.strip()[:1].isdigit() else ""
        spelt = r"\s+".join(map(re.escape, content)) or "(?!)"
        patterns.append(re.compile(rf"(?<!\w)(?<!\d[.,]){minus}{spelt}(?!\w)(?![.,]\d)", re.IGNORECASE))
    return tuple(patterns)
