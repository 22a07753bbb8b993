"""Wrong numbers made from right ones: what holds for every number. About 3 s."""

import re
from fractions import Fraction

import pytest

from layerlimits.errors import UserError
from layerlimits.scoring.near_misses import near_misses
from layerlimits.scoring.numerals import number

WHOLE = range(-9999, 10_000)
DECIMALS = [
    f"{sign}{whole}.{rest}" for sign in ("", "-") for whole in (0, 7, 10, 909, 4321) for rest in ("5", "05", "40")
]


def value(text: str) -> Fraction:
    """By Python, not by the package's own reading of numbers."""
    return Fraction(text.replace(",", "").replace("−", "-"))


def mistake(wrong: str, right: str) -> set[str]:
    """The kinds of mistake that lead from one to the other, in the last place's units."""
    places = len(right.partition(".")[2])
    a, b = (int(value(text) * 10**places) for text in (wrong, right))
    x, y = (str(abs(number)).rjust(max(len(str(abs(a))), len(str(abs(b))), places + 1), "0") for number in (a, b))
    apart = [place for place in range(len(x)) if x[place] != y[place]]
    kinds = {"one"} if abs(a - b) == 1 else {"ten"} if abs(a - b) == 10 else set()
    kinds |= {"sign"} if a == -b else set()
    # 012 is no way to write a number: only changes that keep the length are mistakes in digits.
    same = ((a < 0) == (b < 0) or 0 in (a, b)) and len({max(len(str(abs(n))), places + 1) for n in (a, b)}) == 1
    kinds |= {"digit"} if len(apart) == 1 and same else set()
    swapped = len(apart) == 2 and same and sorted(x[p] for p in apart) == sorted(y[p] for p in apart)
    return kinds | ({"swap"} if swapped else set())


def test_near_misses_of_every_whole_number_are_wrong_distinct_and_explained() -> None:
    seen: set[str] = set()
    for right in WHOLE:
        made = near_misses(str(right))
        values = {int(wrong) for wrong in made}
        assert len(made) == len(values) == 3
        assert right not in values
        assert all(str(int(wrong)) == wrong for wrong in made), (right, made)
        kinds = [mistake(wrong, str(right)) for wrong in made]
        assert all(kinds), (right, made)
        # More than one kind of mistake, whatever the number.
        assert len(set.union(*kinds)) > 1, (right, made)
        seen |= set.union(*kinds)
    assert seen == {"one", "ten", "digit", "swap", "sign"}


@pytest.mark.parametrize("right", DECIMALS)
@pytest.mark.parametrize("key", ["", "a", "b", "c"])
def test_near_misses_of_decimals_keep_their_places(right: str, key: str) -> None:
    made = near_misses(right, 5, key)
    assert len({value(wrong) for wrong in made} - {value(right)}) == 5
    places = len(right.partition(".")[2])
    assert all(re.fullmatch(rf"-?(?:0|[1-9]\d*)\.\d{{{places}}}", wrong) for wrong in made), made
    assert all(mistake(wrong, right) for wrong in made), made
    assert not any(re.fullmatch(r"-0\.0+", wrong) for wrong in made)


@pytest.mark.parametrize("right", ["1,000", "-12,345", "1,234,567.80", "999,999"])
def test_thousands_stay_separated(right: str) -> None:
    made = [wrong for key in "abcdefgh" for wrong in near_misses(right, 4, key)]
    assert all(wrong == f"{float(value(wrong)):,.{len(right.partition('.')[2])}f}" for wrong in made), made
    assert {"999", "1,001"} <= set(near_misses("1,000", 12))


def test_plain_thousands_stay_plain() -> None:
    assert "1000" in near_misses("999", 20)
    assert not any("," in wrong for wrong in near_misses("1234567", 20))


def test_the_sign_for_minus_stays() -> None:
    made = near_misses("−45", 12)
    assert "45" in made
    assert all(wrong.startswith("−") for wrong in made if wrong != "45")
    assert "-45" in near_misses("45", 12)


def test_the_key_and_nothing_else_decides() -> None:
    assert near_misses("81564", key="a") == near_misses("81564", key="a")
    assert len({near_misses("81564", key=str(key)) for key in range(20)}) > 10
    assert near_misses("81564", 5, "a")[:3] == near_misses("81564", 3, "a")
    assert near_misses("0", 0) == ()


def test_no_place_among_the_choices_gives_the_right_one_away() -> None:
    """The right number is the least, the middle or the greatest of four about as often as a wrong one."""
    ranks = [0, 0, 0, 0]
    for right in range(1000, 3000):
        ranks[sorted([right, *map(int, near_misses(str(right)))]).index(right)] += 1
    assert max(ranks) < 0.5 * sum(ranks)


@pytest.mark.parametrize("right", ["7", "-12,345", "0.05", "1,000.50"])
def test_the_package_reads_each_as_the_number_it_is(right: str) -> None:
    for wrong in near_misses(right, 6):
        parsed = number(wrong)
        assert parsed is not None
        assert parsed.value == value(wrong)


@pytest.mark.parametrize("answer", ["", "seven", "3/4", "$18", "1,23", "1.", "+5", "1e3", "--2", "1 234"])
def test_what_is_no_plain_number_is_refused(answer: str) -> None:
    with pytest.raises(UserError, match="not a plain number such as"):
        near_misses(answer)


def test_more_than_can_be_made_are_refused() -> None:
    with pytest.raises(UserError, match=r"cannot make 1000 near misses of 5: only \d+ exist"):
        near_misses("5", 1000)
