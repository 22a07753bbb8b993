"""Word problems of two to five steps, answered with worked steps and a last line `#### n` (the format of GSM8K)."""

import random

from layerlimits.reference.world.problem import Problem

NAMES = (
    "Mia",
    "Leo",
    "Ada",
    "Ben",
    "Zoe",
    "Sam",
    "Ivy",
    "Max",
    "Eva",
    "Tom",
    "Lia",
    "Jon",
    "Amy",
    "Kai",
    "Nina",
    "Otto",
)
ITEMS = ("pens", "apples", "books", "coins", "cards", "shells", "stamps", "eggs", "stones", "plums", "keys", "beads")

_MORE = ("{name} buys {k} more.", "{name} finds {k} more.", "Then {k} more arrive.", "A friend brings {k}.")
_LESS = ("{name} gives away {k}.", "{name} loses {k}.", "{name} sells {k}.", "Then {k} are taken.")
_TIMES = {2: ("Then the number doubles.",), 3: ("Then the number triples.",)}
_HALF = ("{name} keeps half.", "Half of them are lost.")
_LARGEST = 99

Step = tuple[str, int]


def _steps(rng: random.Random, count: int) -> tuple[int, list[Step]]:
    """A start value and operations such that every intermediate value is between 1 and 99."""
    start = value = rng.randint(2, 30)
    steps: list[Step] = []
    while len(steps) < count:
        sign = rng.choice("++--*/")
        if sign == "/" and value % 2:
            continue
        k = {"+": rng.randint(2, 20), "-": rng.randint(1, 20), "*": rng.choice((2, 3)), "/": 2}[sign]
        after = _apply(value, sign, k)
        if 1 <= after <= _LARGEST:
            value = after
            steps.append((sign, k))
    return start, steps


def _apply(value: int, sign: str, k: int) -> int:
    return {"+": value + k, "-": value - k, "*": value * k, "/": value // k}[sign]


def _sentence(rng: random.Random, sign: str, k: int, name: str) -> str:
    forms = {"+": _MORE, "-": _LESS, "*": _TIMES.get(k, ()), "/": _HALF}[sign]
    return rng.choice(forms).format(name=name, k=k)


def _cost(rng: random.Random, item: str) -> tuple[Step, str, str]:
    k = rng.randint(2, 5)
    return ("*", k), f"Each costs {k} dollars.", f"How many dollars do the {item} cost?"


def story(rng: random.Random) -> Problem:
    """A story and its worked answer; the key is the chain of operations, independent of the wording."""
    name, item = rng.choice(NAMES), rng.choice(ITEMS)
    count = rng.randint(2, 5)
    priced = rng.random() < 0.2
    start, steps = _steps(rng, count - priced)
    sentences = [f"{name} has {start} {item}.", *(_sentence(rng, sign, k, name) for sign, k in steps)]
    question = f"How many {item} are there now?"
    if priced:
        last, sentence, question = _cost(rng, item)
        steps.append(last)
        sentences.append(sentence)
    lines, value = [], start
    for sign, k in steps:
        after = _apply(value, sign, k)
        lines.append(f"{value} {sign} {k} = {after}")
        value = after
    key = f"story {start}" + "".join(f"{sign}{k}" for sign, k in steps)
    return Problem(key, " ".join([*sentences, question]), "\n".join([*lines, f"#### {value}"]), meta=(str(len(steps)),))
