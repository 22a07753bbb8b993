"""Starts that many texts share, such as instructions and few-shot examples: they are read once, and their keys and
values are stored. Each text is then read from there on.

    texts                                      families
    head  examples A  question 1               root: head, examples A    texts: question 1, question 2
    head  examples A  question 2
    head  examples B  question 3               root: head, examples B    texts: question 3, question 4
    head  examples B  question 4
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from layerlimits.engines._forks import Reading, Root, read
from layerlimits.engines._rows import Rows
from layerlimits.engines._trees import shared_length
from layerlimits.types import Variant

# A root takes a pass of its own, which must save more than this number of tokens.
_PASS_TOKENS = 64
# How often a family may be divided into smaller ones with longer roots.
_MAX_DIVISIONS = 8


@dataclass(frozen=True)
class Family:
    """Texts that share their first tokens.

    Args:
        shared: number of tokens that are read once for all of them.
        texts: their numbers.
    """

    shared: int
    texts: list[int]


@dataclass
class Start:
    """Tokens that prompts share from their start, and the root once they have been read."""

    tokens: Sequence[int]
    root: Root | None = None


def read_root(opened: Rows, tokens: Sequence[int], variants: Sequence[Variant], reading: Reading) -> Root:
    """Read the tokens of a root for these variants, which are all that will continue it."""
    different = [*dict.fromkeys(variants)]
    slices, pool = read(opened, [tokens], different, [(0, 0, len(tokens) - 1)], len(tokens), reading)
    for _ in slices:
        # Only the keys and values are of use.
        pass
    return Root(len(tokens), pool, different)


def families(
    texts: Sequence[list[int]], limits: Sequence[int], size: Callable[[Sequence[list[int]]], int]
) -> list[Family]:
    """Arrange texts in the families that need the fewest tokens.

    Args:
        texts: token ids.
        limits: for each text the largest number of its tokens that may belong to a root.
        size: number of tokens that are read for some texts that follow a root.
    Returns:
        The families; texts that share too little with others are in a family without a root.
    """
    order = sorted(range(len(texts)), key=lambda number: texts[number])
    common = [shared_length(texts[one], texts[other]) for one, other in pairwise(order)]

    def together(members: list[int], shared: int) -> tuple[int, Family]:
        """Number of tokens of one family of these texts, with a root of up to `shared` tokens if that saves some."""
        shared = min(shared, *(limits[number] for number in members))
        whole = size([texts[number] for number in members])
        rooted = shared + _PASS_TOKENS + size([texts[number][shared:] for number in members])
        return (rooted, Family(shared, members)) if shared and rooted < whole else (whole, Family(0, members))

    def best(start: int, stop: int, divisions: int) -> list[tuple[int, Family]]:
        """Families of the texts in these places of the order, and their numbers of tokens."""
        members, least = order[start:stop], min(common[start : stop - 1], default=0)
        one = together(members, least)
        fewest = sum(len(texts[number]) for number in members) - sum(common[start : stop - 1])
        if not divisions or one[0] <= fewest + _PASS_TOKENS:
            return [one]
        ends = [place + 1 for place in range(start, stop - 1) if common[place] == least]
        found = [pair for part in pairwise([start, *ends, stop]) for pair in best(*part, divisions - 1)]
        divided = [pair for pair in found if pair[1].shared]
        apart = {number for _, family in divided for number in family.texts}
        rest = [number for number in members if number not in apart]
        divided += [together(rest, least)] if rest else []
        return min([one], divided, key=lambda pairs: sum(tokens for tokens, _ in pairs))

    found = [family for _, family in best(0, len(texts), _MAX_DIVISIONS)] if texts else []
    loose = [number for family in found if not family.shared for number in family.texts]
    return [family for family in found if family.shared] + ([Family(0, sorted(loose))] if loose else [])
