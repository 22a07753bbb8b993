"""Parse numbers as people and models write them, with sign, percent sign and unit."""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

# Larger numbers cannot be answers and would make the arithmetic slow.
_LONGEST = 400
_LARGEST_EXPONENT = 300

_DASHES = dict.fromkeys("−–—―‐‑‒﹣－", "-")
_SPACES = dict.fromkeys("\u00a0\u2007\u2009\u202f\u2008\u200a", "\u00a0")
_INVISIBLE = dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff\u200c\u200d", "")
_SIGNS = {"，": ",", "．": ".", "٫": ".", "٬": ",", "％": "%", "٪": "%", "＋": "+", "＝": "=", "：": ":", "＄": "$"}
_MORE = {"⁄": "/", "∕": "/", "’": "'", "（": "(", "）": ")", "＃": "#", "＊": "*"}
_TABLE = str.maketrans(_DASHES | _SPACES | _INVISIBLE | _SIGNS | _MORE)
_SUPERSCRIPT = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_FROM_SUPERSCRIPT = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")

_LATEX = [
    (re.compile(r"(?<=\d)\s*\\[dt]?frac\s*\{?\s*(\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?"), r" \1/\2"),
    (re.compile(r"\\[dt]?frac\s*\{?\s*(-?\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\([$%#&])"), r"\1"),
    (re.compile(r"\{,\}|,\\!\s*"), ","),
    (re.compile(r"(?<=\d)\\[,;: !](?=\d{3})"), "\u00a0"),
    (re.compile(r"\\[,;:! ]|\\q?quad"), " "),
    (re.compile(r"\\(?:times|cdot)(?![a-zA-Z])"), "×"),
    (re.compile(r"\\(?:left|right)(?![a-zA-Z])"), ""),
]
_SHORT_FRACTION = re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)")

_DIGITS = r"""
      \d{1,3}(?:,\d{3})+(?:\.\d+)?            # 1,234.50
    | \d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?      # 1,23,456
    | \d{1,3}(?:[ \u00a0]\d{3})+(?:[.,]\d+)?  # 1 234
    | \d{1,3}(?:'\d{3})+(?:\.\d+)?            # 1'234
    | \d{1,3}(?:_\d{3})+                      # 1_234
    | \d{1,3}(?:\.\d{3}){2,}(?:,\d+)?         # 1.234.567
    | \d{1,3}(?:\.\d{3})+,\d+                 # 1.234,50
    | \d+\.\d+ | \d+,\d+ | \d+ | \.\d+
"""
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z0-9_^]) (?<!\d[.,]) (?<![_^]\{{) (?!(?<=\d:)\d\d\b)  # of a time of day, only the hours
    (?:(?P<whole>\d+)[ \u00a0]\s*(?P<top>\d+)/(?P<under>\d+)(?![\d/])
     | (?P<numerator>\d+)/(?P<denominator>\d+)(?![\d/]|\.\d)
     | (?P<digits>{_DIGITS}) (?!\d) (?![.,]\d)
       (?: [eE](?P<e>[-+]?\d+)
         | \s*[×x*]\s*10\s*\^\s*\{{?\s*(?P<ten>[-+]?\d+)\s*\}}?
         | \s?\^\s*\{{?(?P<power>\d+)\}}?
       )?
    )
    (?! (?:st|nd|rd|th)\b ) (?! [xyzn]\b )
    (?: [ \u00a0]? (?P<scale>hundred|thousand|million|billion|trillion)\b | (?P<k>[kK])\b )?
    (?P<percent> \s?% | \s(?:percent|per\ cent)\b )?
    """,
    re.VERBOSE,
)
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_CURRENCY = r"(?:(?:US|A|C|NZ|HK)?[$€£¥₹₩₽]|(?:USD|EUR|GBP|INR|Rs\.?)[ \u00a0])"
_MINUS = re.compile(
    rf"(?P<before>[^\n]?[ \u00a0]?)(?:{_CURRENCY})?-(?P<space>[ \u00a0]?)(?:{_CURRENCY}[ \u00a0]?)?[({{]?\Z"
)
_MINUS_WORD = re.compile(rf"(?:\bnegative|(?<![\d)] )\bminus)\s+(?:{_CURRENCY})?\Z", re.IGNORECASE)
_INTRODUCES = re.compile(r"(?:[=:(\[{#$≈~]|\b(?:is|equals|be|to|was))[ \u00a0]?\Z")
_MONEY = re.compile(rf"(?P<sign>{_CURRENCY})[ \u00a0]?-?[ \u00a0]?\Z")
_UNIT = re.compile(r"[ \u00a0-]?\**\\?[ ]?(?:\^\s*\{?\\?(?P<degree>circ)|(?P<unit>°|¢|[A-Za-z]+))")


@dataclass(frozen=True)
class Number:
    """A number in a text: its value, its position, and its percent sign and unit."""

    value: Fraction
    start: int
    end: int
    percent: bool = False
    unit: str = ""

    @property
    def text(self) -> str:
        """The number in plain digits, or as a fraction such as 1/3 if it has no finite decimal form."""
        return written(self.value)


def ascii_signs(text: str) -> str:
    """Convert digits of any script, full-width characters, dashes and special spaces to plain ones."""
    text = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_FROM_SUPERSCRIPT), text)
    return "".join(map(_plain, text.translate(_TABLE)))


def _plain(sign: str) -> str:
    if sign.isascii():
        return sign
    digit = unicodedata.decimal(sign, None)
    if digit is not None:
        return str(digit)
    parts = unicodedata.decomposition(sign)
    if parts.startswith("<fraction>"):
        return " " + "".join(chr(int(part, 16)) for part in parts.split()[1:]).replace("⁄", "/")
    return sign


def without_latex(text: str) -> str:
    """Replace LaTeX around numbers with plain text: integer fractions, separators, escaped characters."""
    text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    for pattern, instead in _LATEX:
        text = pattern.sub(instead, text)
    return text


def numbers(text: str) -> list[Number]:
    """The numbers of a normalized text, in order, without exponents, indices, ordinals and coefficients."""
    return [number for match in _NUMBER.finditer(text) if (number := _number(text, match))]


def number(text: str) -> Number | None:
    """The only number in a short text, with sign, currency and unit; None if there is none or more than one."""
    values = numbers(without_latex(ascii_signs(text)))
    return values[0] if len(values) == 1 else None


def _number(text: str, match: re.Match[str]) -> Number | None:
    if match.end() - match.start() > _LONGEST:
        return None
    try:
        value = _value(match)
    except (ValueError, ZeroDivisionError):
        return None
    before = text[max(0, match.start() - 40) : match.start()]
    if _negative(before):
        value = -value
    return Number(value, match.start(), match.end(), bool(match["percent"]), _unit(text, match.end(), before))


def _value(match: re.Match[str]) -> Fraction:
    if match["top"]:
        return int(match["whole"]) + Fraction(int(match["top"]), int(match["under"]))
    if match["numerator"]:
        return Fraction(int(match["numerator"]), int(match["denominator"]))
    value = Fraction(_decimal(match["digits"]))
    exponent = int(match["e"] or match["ten"] or 0)
    power = int(match["power"] or 1)
    if max(abs(exponent), power) > _LARGEST_EXPONENT:
        raise ValueError("too large")
    return value**power * Fraction(10) ** exponent * _SCALES.get(match["scale"], 1) * (1000 if match["k"] else 1)


def _decimal(digits: str) -> str:
    """Convert to digits with at most a decimal point.

    A comma before exactly three digits separates thousands; any other comma is a decimal comma. A single full stop is a
    decimal point even before three digits (1.234 is slightly more than one).
    """
    digits = re.sub(r"[ \u00a0'_]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}|\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,},\d+", digits):
        return digits.replace(".", "").replace(",", ".")
    if re.fullmatch(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?", digits):
        return digits.replace(",", "")
    return digits.replace(",", ".")


def _negative(before: str) -> bool:
    """Whether a dash before the number is a sign rather than an operator, a range, a hyphen or a bullet."""
    if _MINUS_WORD.search(before):
        return True
    minus = _MINUS.search(before)
    if not minus:
        return False
    rest = before[: minus.start("before")] + minus["before"]
    line = rest.rpartition("\n")[2]
    if line.rstrip(" \u00a0")[-1:].isdigit() or line.rstrip(" \u00a0")[-1:] in (")", "}", "%"):
        return False
    if minus["space"]:
        return bool(_INTRODUCES.search(line))
    return not line[-1:].isalpha()


def _unit(text: str, end: int, before: str) -> str:
    money = _MONEY.search(before)
    if money:
        return money["sign"].strip()
    unit = _UNIT.match(text, end)
    return "" if not unit else "°" if unit["degree"] else unit["unit"].lower()


def written(value: Fraction) -> str:
    """Format a fraction as digits: 18, -1.5, 1/3."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    while rest % 10 == 0 or rest % 5 == 0 or rest % 2 == 0:
        rest //= 10 if rest % 10 == 0 else 5 if rest % 5 == 0 else 2
        places += 1
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    scaled = value * 10**places
    digits = str(abs(scaled.numerator)).rjust(places + 1, "0")
    decimals = digits[-places:].rstrip("0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{decimals}"
