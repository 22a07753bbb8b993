"""A random order of the layers: the baseline for every other method."""

import random as generator

from layerlimits.methods import Context, by_score
from layerlimits.types import Ranking


def random(context: Context, *, seed: int | None = None) -> Ranking:
    """Random order; the score of a layer is its position in it.

    Args:
        seed: Seed of the permutation; the run's seed by default.
    Source: baseline
    Cost: none
    """
    places = list(range(context.depth))
    generator.Random(context.seed if seed is None else seed).shuffle(places)
    return by_score("random", [float(place) for place in places], context.protected or ())
