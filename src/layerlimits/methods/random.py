"""A seeded permutation: the control that every method must beat."""

import random as generator

from layerlimits.methods import Context, by_score
from layerlimits.types import Ranking


def random(context: Context, *, seed: int | None = None) -> Ranking:
    """Layers in a random order; the score of a layer is its place in it.

    Args:
        seed: of the permutation; the run's seed if not given.
    Source: control
    Cost: none
    """
    places = list(range(context.depth))
    generator.Random(context.seed if seed is None else seed).shuffle(places)
    return by_score("random", [float(place) for place in places], context.protected or ())
