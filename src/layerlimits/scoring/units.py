"""Units of measurement that exclude each other: an answer in another unit of the same kind is another answer."""

import re

# Each line is one kind; the words of one unit stand together.
_KINDS = (
    "cent,cents,¢ dollar,dollars,$,usd,us$,bucks euro,euros,€,eur pound,pounds,£,gbp yen,¥ rupee,rupees,₹,rs.,inr",
    "second,seconds,sec,secs minute,minutes,min,mins hour,hours,hr,hrs,h day,days week,weeks month,months year,years",
    "millimeter,millimeters,mm centimeter,centimeters,cm meter,meters,metre,metres,m kilometer,kilometers,km "
    "inch,inches,in foot,feet,ft yard,yards,yd mile,miles,mi",
    "milligram,milligrams,mg gram,grams,g kilogram,kilograms,kg,kgs "
    "ounce,ounces,oz pound,pounds,lb,lbs ton,tons,tonnes",
    "milliliter,milliliters,ml liter,liters,litre,litres,l cup,cups pint,pints quart,quarts gallon,gallons",
    "degree,degrees,° radian,radians,rad",
)
_UNITS = [[frozenset(unit.split(",")) for unit in kind.split()] for kind in _KINDS]
_ASKED = re.compile(
    r"\bhow many (?:more |fewer |total |extra |additional )?([a-z]+)|\bin ([a-z]+)\?|"
    r"\bhow much (?:money |time )?in ([a-z]+)|\(in ([a-z]+)\)"
)


def differ(one: str, other: str) -> bool:
    """Whether both are units of one kind and not the same one: minutes and hours, but not minutes and apples."""
    one, other = one.lower(), other.lower()
    for kind in _UNITS:
        first = [unit for unit in kind if one in unit]
        second = [unit for unit in kind if other in unit]
        if first and second:
            return first != second
    return False


def asked(question: str) -> str:
    """The unit that the last sentence of a question asks for ("How many hours ..."), empty where it names none."""
    last = re.split(r"(?<=[.!?])\s+", question.strip().lower())[-1]
    found = _ASKED.findall(last)
    words = {word for groups in found for word in groups if word}
    return words.pop() if len(words) == 1 else ""
