"""A seeded permutation: the control that every method must beat."""

import random as generator

from layerlimits.methods import Context, by_score
from layerlimits.types import Ranking


def random(context: Context) -> Ranking:
    """Layers in an order drawn from the run's seed; the score of a layer is its place in it.

    Source: control
    Cost: none
    """
    places = list(range(context.depth))
    generator.Random(context.seed).shuffle(places)
    return by_score("random", [float(place) for place in places], context.protected or ())
