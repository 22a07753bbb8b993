"""Normalize mathematical answers and compare them by simple rules before resorting to algebra."""

import re
from fractions import Fraction

from layerlimits.scoring import equality, units
from layerlimits.scoring.numerals import Number, ascii_signs, numbers, without_latex

_WORDS = [
    (re.compile(r"√\s*\(([^()]*)\)|\bsqrt\s*\(([^()]*)\)"), lambda match: rf"\sqrt{{{match[1] or match[2]}}}"),
    (re.compile(r"√\s*(\d+|[a-z])"), lambda match: rf"\sqrt{{{match[1]}}}"),
]
_SIGNS = {
    "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "∪": r"\cup ", "∈": r"\in ", "±": r"\pm ",
    "×": r"\times ", "·": r"\cdot ", "÷": "/", "°": r"^\circ ", "²": "^2", "³": "^3", "≠": r"\ne ", "θ": r"\theta ",
}  # fmt: skip
_REWRITES = [
    (re.compile(r"\\[dtc]frac(?![a-zA-Z])"), r"\\frac"),
    (re.compile(r"\\frac\s*(\d)\s*(\d)(?!\d)"), r"\\frac{\1}{\2}"),
    (re.compile(r"\\frac\s*(\d)\s*(\{)"), r"\\frac{\1}\2"),
    (re.compile(r"(\\frac\s*\{[^{}]*\})\s*(\d)"), r"\1{\2}"),
    (re.compile(r"\\sqrt\s*(\d|[a-z])"), r"\\sqrt{\1}"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])"), ""),
    (re.compile(r"(?<!\\)\\(?:(?:displaystyle|limits|q?quad)(?![a-zA-Z])|[!,;: ])|~"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\leq(?![a-zA-Z])"), r"\\le"),
    (re.compile(r"\\geq(?![a-zA-Z])"), r"\\ge"),
    (re.compile(r"(?<![a-zA-Z\\])(?:pi)(?![a-zA-Z])"), r"\\pi "),
    (re.compile(r"(?<![a-zA-Z\\])(?:infinity|inf|oo)(?![a-zA-Z])"), r"\\infty "),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<=[\w)}])\s*\*\s*(?=[\w(\\])"), r" \\cdot "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
]
_TEXT = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textit|textrm|rm|bf)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?")
_UNIT_WORD = re.compile(
    r"(?<=[\d}\s)])\s*(?:square |cubic )?([A-Za-z]{2,})(?:\s+[a-z]{2,})*\s*(?:\^\s*\{?([23])\}?)?\s*\Z"
)
_THOUSANDS = re.compile(r"(?<=\d)[, ]\s*(?=\d{3}(?!\d))")
_BASE = re.compile(r"(\d+)\s*_\s*\{?\s*(?:\\text\{)?(\d+)[}\s]*")
_EQUATION = re.compile(r"(?<![<>!\\])=")
_LETTER = re.compile(r"\(?([A-Z])\)?(?:[\s.,:].*)?", re.DOTALL)
# Function names are not units.
_FUNCTIONS = {
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "log",
    "ln",
    "exp",
    "arcsin",
    "arccos",
    "arctan",
    "max",
    "min",
    "mod",
}
_NEAR_DIGITS = 6
# Longer than any real answer; longer texts are not worth the algebra.
_LONGEST = 600


def is_word(gold: str) -> bool:
    r"""Whether an answer is a word or a letter in `\text{}`, not a formula."""
    return bool(re.fullmatch(r"\s*\\text\s*\{\s*\(?[A-Za-z ]+\)?\s*\}\s*", gold))


def normal(text: str) -> str:
    """Normalize a formula to one spelling where LaTeX allows several; units stay words."""
    text = ascii_signs(text).replace("\u00a0", " ").strip()
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    for sign, command in _SIGNS.items():
        text = text.replace(sign, command)
    text = re.sub(r"\\[$]|\$|\\\(|\\\)|\\\[|(?<!\\)\\\](?!\S)", "", text)
    for pattern, spelled in _REWRITES:
        text = pattern.sub(spelled, text)
    text = text.strip().rstrip(".,;:").strip()
    return text


def same(gold: str, answer: str, question: str = "") -> bool | None:
    """Whether an answer equals the gold answer; None if the comparison timed out.

    Equal spellings, words, numbers (exactly, not to six digits) and numbers with a base are compared here, everything
    else by math-verify. The unit may be omitted but must not be a different one.
    """
    if len(answer) > _LONGEST:
        return False
    if is_word(gold):
        return _same_word(gold, answer)
    gold, answer = normal(gold), normal(answer)
    if _squeezed(gold) == _squeezed(answer):
        return True
    (gold, unit), (answer, other) = _without_unit(gold), _without_unit(answer)
    if units.differ(unit[0], other[0]) or (unit[1] and other[1] and unit[1] != other[1]):
        return False
    answer = _side(gold, answer)
    if _squeezed(gold) == _squeezed(answer):
        return True
    based = _BASE.fullmatch(gold)
    if based:
        return _same_base(based, answer)
    numeric, value = rational(gold), rational(answer)
    if numeric and value:
        return _same_number(numeric.value, value, answer, question)
    return equality.equal(gold, _bracketed(gold, answer)) if answer else False


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def _same_word(gold: str, answer: str) -> bool:
    """Whether the answer is the gold word or letter, possibly at the start of a sentence or after "it is"."""
    wanted = re.sub(r"\\text|[{}\s()]", "", gold)
    text = _TEXT.sub(r"\1", normal(answer)).strip("{}*\"' ")
    if len(wanted) == 1:
        letter = _LETTER.fullmatch(text)
        return bool(letter and letter[1] == wanted)
    spoken = re.sub(r"[^a-z ]", " ", text.lower()).split()
    while spoken and spoken[0] in (
        "the",
        "a",
        "an",
        "it",
        "is",
        "its",
        "therefore",
        "so",
        "thus",
        "hence",
        "student",
        "answer",
    ):
        spoken = spoken[1:]
    return (
        bool(spoken)
        and spoken[0] == wanted.lower()
        and (len(spoken) == 1 or spoken[1] in ("is", "has", "had", "was", "will"))
    )


def _without_unit(text: str) -> tuple[str, tuple[str, str]]:
    """Split a formula into the part without its unit and the unit with its exponent; degrees count as a unit."""
    unit = "degrees" if _DEGREES.search(text) else ""
    text = _DEGREES.sub("", text)
    plain = _TEXT.sub(r" \1 ", text).strip()
    unit_word = _UNIT_WORD.search(plain)
    if unit_word and unit_word[1].lower() not in _FUNCTIONS and re.search(r"\d", plain[: unit_word.start()]):
        return plain[: unit_word.start()].strip(), (unit or unit_word[1].lower(), unit_word[2] or "")
    return _TEXT.sub(r"\1", text).strip(), (unit, "")


def _side(gold: str, answer: str) -> str:
    r"""The right side of "x = 5" or "x \in [1, 2]" if the gold answer has no left side; drops approximations."""
    answer = re.split(r"\\approx|≈|\\simeq", answer)[0].strip()
    if not _EQUATION.search(gold) and "," not in answer.partition("=")[0]:
        sides = _EQUATION.split(answer)
        named = len(sides) == 2 and re.fullmatch(r"\s*[a-zA-Z\\(){}\s]{1,12}", sides[0])
        if "," not in answer or named:
            answer = sides[-1].strip()
    if "\\in " not in gold:
        answer = re.sub(r"\A[a-zA-Z]\s*\\in\s+", "", answer)
    return answer


def _same_base(gold: re.Match[str], answer: str) -> bool:
    """Whether the digits and base agree; the base may be omitted, since the question names it."""
    based = _BASE.fullmatch(answer)
    if based:
        return based.groups() == gold.groups()
    return _squeezed(answer) == gold[1]


def rational(text: str) -> Number | None:
    """The value of a formula that is a single number, otherwise None."""
    if not re.search(r"[(\[{,]", re.sub(r"\\frac\{[^{}]*\}\{[^{}]*\}|\^\{-?\d+\}", "", text)) or re.fullmatch(
        r"-?\d{1,3}(?:[, ]+\d{3})+(?:\.\d+)?", text
    ):
        plain = without_latex(_THOUSANDS.sub("", text)).replace("\\times", "×").strip()
        values = numbers(f"= {plain}")
        if len(values) == 1 and re.fullmatch(r"=\s*[-+]?\s*", f"= {plain}"[: values[0].start]):
            return values[0] if f"= {plain}"[values[0].end :].strip() in ("", "%", "\\%") else None
    return None


def _same_number(gold: Fraction, answer: Number, text: str, question: str) -> bool:
    if answer.percent:
        asked = re.search(r"percent|%", question) or abs(gold) >= 1
        return answer.value == gold if asked else answer.value / 100 == gold
    if answer.value == gold:
        return True
    # A non-terminating gold fraction may be given to six or more decimal places.
    decimals = re.search(r"\.(\d+)\Z", text)
    endless = gold.limit_denominator(10**12).denominator
    while endless % 2 == 0 or endless % 5 == 0:
        endless //= 2 if endless % 2 == 0 else 5
    if endless == 1 or not decimals or len(decimals[1]) < _NEAR_DIGITS:
        return False
    return abs(answer.value - gold) <= Fraction(1, 10 ** len(decimals[1]))


def _bracketed(gold: str, answer: str) -> str:
    """Add the brackets of a gold tuple to a bare list: order matters in a tuple but not in a list of solutions."""
    if gold.startswith("(") and gold.endswith(")") and "," in answer and not re.search(r"[()\[\]{}]|\\cup", answer):
        return f"({answer})"
    return answer
