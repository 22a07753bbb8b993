"""A few hundred invented things and what is true of them: facts to recall, and to reason one step from."""

import random
from dataclasses import dataclass
from functools import cache

from layerlimits.world.problem import Problem, Split

COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "white", "pink", "brown", "gray", "gold")
HOMES = {
    "hot": ("desert", "volcano", "savanna"),
    "cold": ("glacier", "tundra", "icecap"),
    "wet": ("swamp", "river", "lagoon"),
    "dark": ("cave", "tunnel", "cellar"),
}
FOODS = {
    "plants": ("berries", "leaves", "moss"),
    "insects": ("ants", "flies", "crickets"),
    "fish": ("herring", "trout", "eels"),
    "grain": ("wheat", "rice", "oats"),
}
_THINGS = 200

# The last two wordings of each attribute never train: the first of them selects layers, the second evaluates.
_WORDINGS = {
    "color": (
        "What color is the {t}?",
        "Which color does the {t} have?",
        "Tell me the color of the {t}.",
        "The {t} has which color?",
        "Color of the {t}?",
        "Say which color the {t} is.",
        "What is the color of the {t}?",
    ),
    "home": (
        "Where does the {t} live?",
        "Which place is home to the {t}?",
        "Tell me the home of the {t}.",
        "The {t} lives in which place?",
        "Home of the {t}?",
        "Say where the {t} lives.",
        "What is the home of the {t}?",
    ),
    "food": (
        "What does the {t} eat?",
        "Which food does the {t} eat?",
        "Tell me the food of the {t}.",
        "The {t} eats which food?",
        "Food of the {t}?",
        "Say what the {t} eats.",
        "What is the food of the {t}?",
    ),
}
ATTRIBUTES = tuple(_WORDINGS)


@dataclass(frozen=True)
class Thing:
    """An invented thing and its three attributes."""

    name: str
    color: str
    home: str
    food: str

    def value(self, attribute: str) -> str:
        """What is true of this thing: its color, home or food."""
        return str(getattr(self, attribute))


def values(attribute: str) -> tuple[str, ...]:
    """All values an attribute takes."""
    if attribute == "color":
        return COLORS
    groups = HOMES if attribute == "home" else FOODS
    return tuple(value for group in groups.values() for value in group)


@cache
def things() -> tuple[Thing, ...]:
    """The 200 things, always the same."""
    rng = random.Random("things")
    names: list[str] = []
    while len(names) < _THINGS:
        name = rng.choice("bdfgklmnprtvz") + rng.choice("aeiou") + rng.choice("bdgklmnprtvz") + rng.choice("aeiou")
        name += rng.choice(("x", "n", "k", "t", "l", "r", "s"))
        if name not in names:
            names.append(name)
    return tuple(Thing(name, *(rng.choice(values(attribute)) for attribute in ATTRIBUTES)) for name in names)


def facts(split: Split, seed: int) -> list[Problem]:
    """Every fact asked in the split's wordings, shuffled; `wrong` holds three values of the same attribute.

    Facts must have been seen to be recalled, so it is the wording that is held out, not the fact.
    """
    rng = random.Random(f"facts-{split}-{seed}")
    problems = [
        Problem(f"fact {prompt}", prompt, thing.value(attribute), _others(rng, attribute, thing.value(attribute)))
        for thing in things()
        for attribute in ATTRIBUTES
        for prompt in (wording.format(t=thing.name) for wording in _wordings(attribute, split))
    ]
    rng.shuffle(problems)
    return problems


def _wordings(attribute: str, split: Split) -> tuple[str, ...]:
    known = _WORDINGS[attribute]
    # Calibration text is running text of the world: it takes the wording called "Color of the zorp?".
    return {"train": known[:4], "calibrate": known[4:5], "select": known[5:6], "evaluate": known[6:]}[split]


def _others(rng: random.Random, attribute: str, right: str) -> tuple[str, ...]:
    return tuple(rng.sample([value for value in values(attribute) if value != right], 3))


def same_as(rng: random.Random) -> Problem:
    """Which of four things shares an attribute with a fifth: recall of all five, and a comparison."""
    attribute = rng.choice(ATTRIBUTES)
    subject = rng.choice(things())
    alike = [thing for thing in things() if thing.value(attribute) == subject.value(attribute) and thing != subject]
    unlike = [thing for thing in things() if thing.value(attribute) != subject.value(attribute)]
    return _which_of(rng, f"has the same {attribute} as the {subject.name}", alike, unlike)


def lives_or_eats(rng: random.Random) -> Problem:
    """Which of four things lives in, or eats, something of a kind: from "desert" to "where it is hot"."""
    groups, attribute, told = rng.choice(
        ((HOMES, "home", "lives where it is {}"), (FOODS, "food", "eats some kind of {}"))
    )
    kind = rng.choice(list(groups))
    alike = [thing for thing in things() if thing.value(attribute) in groups[kind]]
    unlike = [thing for thing in things() if thing.value(attribute) not in groups[kind]]
    return _which_of(rng, told.format(kind), alike, unlike)


def _which_of(rng: random.Random, told: str, alike: list[Thing], unlike: list[Thing]) -> Problem:
    """The four things are the problem, in whatever order they are named."""
    right = rng.choice(alike).name
    wrong = tuple(thing.name for thing in rng.sample(unlike, 3))
    a, b, c, d = named = rng.sample((right, *wrong), 4)
    key = f"which {told} {'-'.join(sorted(named))}"
    return Problem(key, f"Which of the {a}, {b}, {c} and {d} {told}?", right, wrong)


def kind_of(rng: random.Random) -> Problem:
    """What follows from a home or a food: "the desert is hot, so the zorp lives where it is hot"."""
    thing = rng.choice(things())
    groups, attribute, prompt = rng.choice(
        (
            (HOMES, "home", f"What is it like where the {thing.name} lives?"),
            (FOODS, "food", f"Which kind of food does the {thing.name} eat?"),
        )
    )
    right = next(kind for kind, members in groups.items() if thing.value(attribute) in members)
    wrong = tuple(kind for kind in groups if kind != right)
    return Problem(f"kind {attribute} {thing.name}", prompt, right, wrong)


def inference(rng: random.Random) -> Problem:
    """A question that needs one step of inference over the facts, as a four-way choice."""
    return rng.choice((same_as, lives_or_eats, lives_or_eats, kind_of))(rng)
