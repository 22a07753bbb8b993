"""MATH-500's reference answers in other spellings are equal to themselves; spoilt ones are not. About 15 s."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerlimits.plugins import find
from layerlimits.scoring.latex import same
from layerlimits.scoring.numerals import ascii_signs

INTEGER = re.compile(r"-?\d+")
FRACTION = re.compile(r"(-?)\\d?frac\{(\d+)\}\{(\d+)\}")
LIST = re.compile(r"-?\d+(?:, ?-?\d+)+")


def spelled(gold: str) -> Iterator[str]:
    """The same answer as models write it."""
    yield from (f"\\displaystyle {gold}", f"${gold}$", f"\\({gold}\\)", f"{gold}.", gold.replace("\\frac", "\\dfrac"))
    yield re.sub(r"\\(?:left|right)(?![a-zA-Z])", "", gold)
    yield gold.replace("\\pi", "π").replace("^\\circ", "°")
    if INTEGER.fullmatch(gold):
        yield from (f"x = {gold}", f"{gold}.0", f"{gold} \\text{{ things}}", f"{gold}\\mbox{{ cm}}")
        yield from (f"{int(gold):,}", f"{int(gold):,}".replace(",", "{,}"))
    fraction = FRACTION.fullmatch(gold)
    if fraction:
        sign, above, below = fraction[1], int(fraction[2]), int(fraction[3])
        yield from (f"{sign}{above}/{below}", f"{sign}\\frac{{{3 * above}}}{{{3 * below}}}")
        yield f"{sign}{above / below:.8f}"
    if "^\\circ" in gold:
        yield from (gold.replace("^\\circ", ""), gold.replace("^\\circ", "\\text{ degrees}"))
    if LIST.fullmatch(gold):
        parts = re.split(", ?", gold)
        # Two numbers such as 58,500 can be thousands.
        if all(len(part) < 3 for part in parts):
            yield from (", ".join(reversed(parts)), " and ".join(parts), f"\\{{{gold}\\}}")
    based = re.fullmatch(r"(\d+)_\{?(\d)\}?", gold)
    if based:
        yield from (based[1], f"{based[1]}_{{{based[2]}}}")


def spoilt(gold: str) -> Iterator[str]:
    """Other answers that look like it."""
    last = re.search(r"\d(?!.*\d)", gold)
    if last:
        yield gold[: last.start()] + str((int(last[0]) + 1) % 10) + gold[last.end() :]
    if not gold.startswith(("\\text", "-", "0")):
        yield f"-{gold}"
    if INTEGER.fullmatch(gold) and gold != "0":
        yield from (gold + "0", f"{gold}.5", f"{gold}/7", f"{gold}.0000001", f"{gold}x", f"{gold}, {int(gold) + 1}")
    fraction = FRACTION.fullmatch(gold)
    if fraction and fraction[2] != fraction[3]:
        yield f"{fraction[1]}\\frac{{{fraction[3]}}}{{{fraction[2]}}}"
        yield f"{fraction[1]}{int(fraction[2]) / int(fraction[3]) + 0.001:.8f}"
    pair = re.fullmatch(r"\((-?\d+), ?(-?\d+)\)", gold)
    if pair and pair[1] != pair[2]:
        yield f"({pair[2]},{pair[1]})"
    if LIST.fullmatch(gold):
        yield gold.rpartition(",")[0]
    if re.fullmatch(r"\d+_\{?\d\}?", gold):
        yield re.sub(r"_\{?\d\}?", "_9", gold) if "9" not in gold else gold[::-1]
    if "^\\circ" in gold:
        yield gold.replace("^\\circ", "\\text{ radians}")
    if " cents" in gold:
        yield gold.replace(" cents", " dollars")


def golds(folder: Path) -> list[str]:
    """Integers, which are most of them, every tenth only."""
    targets = dict.fromkeys(sample.target for sample in find("tasks", "math500").samples.whole(folder))
    integers = [gold for gold in targets if INTEGER.fullmatch(gold)]
    return integers[::10] + [gold for gold in targets if not INTEGER.fullmatch(gold)]


@pytest.mark.parametrize("part", range(2))
def test_golds_in_other_spellings(part: int, real_data: Path) -> None:
    for gold in golds(real_data)[part::8]:
        for answer in dict.fromkeys(spelled(gold)):
            assert same(gold, ascii_signs(answer)), (gold, answer)
        for answer in dict.fromkeys(spoilt(gold)):
            assert same(gold, ascii_signs(answer)) is False, (gold, answer)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2, 8))
def test_more_golds_in_other_spellings(part: int, real_data: Path) -> None:
    test_golds_in_other_spellings(part, real_data)
