"""Compare mathematical answers: words, units and number bases by rules, everything else by math-verify."""

import re

from layerlimits.scoring import equality, units

# Signs outside LaTeX, which math-verify does not read.
_SIGNS = {
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ",
    "×": r"\times ", "·": r"\cdot ", "÷": "/", "°": r"^\circ ", "≠": r"\ne ", "θ": r"\theta ", "\u00a0": " ",
}  # fmt: skip
_ROOT = re.compile(r"√\s*(?:\(([^()]*)\)|(\d+|[a-z]))")
_AROUND = re.compile(r"\\[$()\[]|\$|(?<!\\)\\\](?!\S)|\\(?:displaystyle|left|right)(?![a-zA-Z])")
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textit|textrm)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_UNIT = re.compile(r"(?<=[\d}\s)])\s*(?:square |cubic )?([A-Za-z]{2,})(?:\s+[a-z]{2,})*\s*(?:\^\s*\{?([23])\}?)?\s*\Z")
_FUNCTION = re.compile(r"(?:arc)?(?:sin|cos|tan)|cot|sec|csc|log|ln|exp|max|min|mod", re.IGNORECASE)
_BASE = re.compile(r"(\d+)\s*_\s*\{?\s*(?:\\text\{)?(\d+)[}\s]*")
_LETTER = re.compile(r"\(?([A-Z])\)?(?:[\s.,:].*)?", re.DOTALL)
_BEFORE_WORD = re.compile(r"(?:(?:the|a|an|its?|is|therefore|so|thus|hence|student|answer)\s+)*")
_AFTER_WORD = r"(?:\s+(?:is|has|had|was|will)\b.*)?"
# Longer than any real answer; longer texts are not worth the algebra.
_LONGEST = 600


def is_word(gold: str) -> bool:
    r"""Whether an answer is a word or a letter in `\text{}`, not a formula."""
    return bool(re.fullmatch(r"\s*\\text\s*\{\s*\(?[A-Za-z ]+\)?\s*\}\s*", gold))


def same(gold: str, answer: str) -> bool | None:
    """Whether an answer equals the gold answer; None if the comparison timed out.

    math-verify ignores units and bases. A unit may be omitted but must not be a different one, and so may the base of
    a number, since the question names it.
    """
    if len(answer) > _LONGEST:
        return False
    if is_word(gold):
        return _same_word(gold, answer)
    gold, unit, power = _split(_plain(gold))
    answer, other, other_power = _split(_plain(answer))
    if units.differ(unit, other) or (power and other_power and power != other_power):
        return False
    if "".join(gold.split()) == "".join(answer.split()):
        return True
    based, given = _BASE.fullmatch(gold), _BASE.fullmatch(answer)
    if based:
        return based.groups() == given.groups() if given else based[1] == answer
    return equality.equal(gold, answer) if answer else False


def _plain(text: str) -> str:
    """The formula in LaTeX, without what surrounds it."""
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match[1] or match[2]}}}", text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    return _AROUND.sub("", text).strip().rstrip(".,;: ")


def _split(text: str) -> tuple[str, str, str]:
    """A formula without its unit, the unit, and its exponent; degrees are a unit."""
    degrees = "degrees" if _DEGREES.search(text) else ""
    text = _DEGREES.sub("", text)
    plain = _TEXT.sub(r" \1 ", text).strip()
    unit = _UNIT.search(plain)
    if unit and not _FUNCTION.fullmatch(unit[1]) and re.search(r"\d", plain[: unit.start()]):
        return plain[: unit.start()].strip(), degrees or unit[1].lower(), unit[2] or ""
    return _TEXT.sub(r"\1", text).strip(), degrees, ""


def _same_word(gold: str, answer: str) -> bool:
    """Whether the answer is the gold word or letter, possibly at the start of a sentence or after "it is"."""
    wanted = re.sub(r"\\text|[{}\s()]", "", gold)
    text = _TEXT.sub(r"\1", _plain(answer)).strip("{}*\"' ")
    if len(wanted) == 1:
        letter = _LETTER.fullmatch(text)
        return bool(letter and letter[1] == wanted)
    spoken = re.sub(r"[^a-z]+", " ", text.lower()).strip()
    first = _BEFORE_WORD.match(spoken)
    return bool(re.fullmatch(wanted.lower() + _AFTER_WORD, spoken[first.end() if first else 0 :]))
