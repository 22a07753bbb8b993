"""Units of measurement: an answer in a different unit of the same kind is a different answer."""

import re
from fractions import Fraction

# One kind per line. Each unit is its size in the smallest unit of the kind (0 if that varies) and its spellings.
_KINDS = (
    "1:cent,cents,¢ 100:dollar,dollars,$,usd,us$,bucks 0:euro,euros,€,eur 0:pound,pounds,£,gbp 0:yen,¥ "
    "0:rupee,rupees,₹,rs.,inr",
    "1:second,seconds,sec,secs 60:minute,minutes,min,mins 3600:hour,hours,hr,hrs,h 86400:day,days 604800:week,weeks "
    "0:month,months 0:year,years",
    "1:millimeter,millimeters,mm 10:centimeter,centimeters,cm 1000:meter,meters,metre,metres,m "
    "1000000:kilometer,kilometers,km 25.4:inch,inches,in 304.8:foot,feet,ft 914.4:yard,yards,yd 1609344:mile,miles,mi",
    "1:milligram,milligrams,mg 1000:gram,grams,g 1000000:kilogram,kilograms,kg,kgs "
    "28349.523125:ounce,ounces,oz 453592.37:pound,pounds,lb,lbs 0:ton,tons,tonnes",
    "1:milliliter,milliliters,ml 1000:liter,liters,litre,litres,l 236.5882365:cup,cups 473.176473:pint,pints "
    "946.352946:quart,quarts 3785.411784:gallon,gallons",
    "0:degree,degrees,° 0:radian,radians,rad",
)
# Months and years have no fixed size in seconds, but a fixed ratio.
_MONTHS = {"month": 1, "months": 1, "year": 12, "years": 12}
_SIZES = [[unit.partition(":") for unit in kind.split()] for kind in _KINDS]
_UNITS = [[frozenset(words.split(",")) for _, _, words in kind] for kind in _SIZES]
_ASKED = re.compile(
    r"\bhow many (?:more |fewer |total |extra |additional )?([a-z]+)|\bin ([a-z]+)\?|"
    r"\bhow much (?:money |time )?in ([a-z]+)|\(in ([a-z]+)\)"
)


def differ(word: str, other_word: str) -> bool:
    """Whether two words are different units of the same kind: minutes and hours, but not minutes and apples."""
    word, other_word = word.lower(), other_word.lower()
    for kind in _UNITS:
        first = [unit for unit in kind if word in unit]
        second = [unit for unit in kind if other_word in unit]
        if first and second:
            return first != second
    return False


def ratio(first: str, second: str) -> Fraction | None:
    """How many of the second unit make one of the first (60 for minutes and seconds); None if not fixed."""
    first, second = first.lower(), second.lower()
    if first in _MONTHS and second in _MONTHS:
        return Fraction(_MONTHS[first], _MONTHS[second])
    for kind in _SIZES:
        sizes = {word: Fraction(size) for size, _, words in kind for word in words.split(",")}
        if sizes.get(first) and sizes.get(second):
            return sizes[first] / sizes[second]
    return None


def is_time(unit: str) -> bool:
    """Whether a word is a unit of time."""
    return any(unit.lower() in words for words in _UNITS[1])


def asked(question: str) -> str:
    """The unit the last sentence of a question asks for ("How many hours ..."); empty if none."""
    last = re.split(r"(?<=[.!?])\s+", question.strip().lower())[-1]
    matches = _ASKED.findall(last)
    words = {word for groups in matches for word in groups if word}
    return words.pop() if len(words) == 1 else ""
