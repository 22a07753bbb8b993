"""Two hundred invented things with attributes: facts to recall, and facts for one-step inference."""

import random
from dataclasses import dataclass
from functools import cache

from layerlimits.reference.world.problem import Problem, Split, split_of
from layerlimits.reference.world.stories import NAMES

Groups = dict[str, tuple[str, ...]]
# An attribute, the groups of its values, and a question whose answer is the group.
Derivation = tuple[str, Groups, str]

COLORS = ("red", "blue", "green", "yellow", "purple", "orange", "black", "white", "pink", "brown", "gray", "gold")
HOMES: Groups = {
    "hot": ("desert", "volcano", "savanna"),
    "cold": ("glacier", "tundra", "icecap"),
    "wet": ("swamp", "river", "lagoon"),
    "dark": ("cave", "tunnel", "cellar"),
}
FOODS: Groups = {
    "plants": ("berries", "leaves", "moss"),
    "insects": ("ants", "flies", "crickets"),
    "fish": ("herring", "trout", "eels"),
    "grain": ("wheat", "rice", "oats"),
}
HIDING: Groups = {
    "flowers": ("red", "pink", "purple"),
    "sand": ("yellow", "orange", "gold"),
    "water": ("blue", "green", "white"),
    "ashes": ("black", "gray", "brown"),
}
_THINGS = 200
_ASKED_BY = " asked by "

# The last three wordings of each attribute are not used for training: they calibrate, select layers and evaluate.
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
    """An invented thing with three attributes."""

    name: str
    color: str
    home: str
    food: str

    def value(self, attribute: str) -> str:
        """The value of an attribute: color, home or food."""
        return str(getattr(self, attribute))


def values(attribute: str) -> tuple[str, ...]:
    """All values of an attribute."""
    if attribute == "color":
        return COLORS
    groups = HOMES if attribute == "home" else FOODS
    return tuple(value for group in groups.values() for value in group)


@cache
def things() -> tuple[Thing, ...]:
    """The 200 things; deterministic."""
    rng = random.Random("things")
    names: list[str] = []
    while len(names) < _THINGS:
        name = rng.choice("bdfgklmnprtvz") + rng.choice("aeiou") + rng.choice("bdgklmnprtvz") + rng.choice("aeiou")
        name += rng.choice(("x", "n", "k", "t", "l", "r", "s"))
        if name not in names:
            names.append(name)
    return tuple(Thing(name, *(rng.choice(values(attribute)) for attribute in ATTRIBUTES)) for name in names)


def facts(split: Split, seed: int) -> list[Problem]:
    """Every fact in the split's wordings, shuffled; `wrong` has three other values of the same attribute.

    A fact can only be recalled if it was trained on, so wordings are held out instead of facts.
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
    # Calibration text uses the short wording, such as "Color of the zorp?".
    return {"train": known[:4], "calibrate": known[4:5], "select": known[5:6], "evaluate": known[6:]}[split]


def _others(rng: random.Random, attribute: str, right: str) -> tuple[str, ...]:
    return tuple(rng.sample([value for value in values(attribute) if value != right], 3))


def _derivations() -> tuple[Derivation, ...]:
    packed = {"hot": "hat", "cold": "coat", "wet": "boots", "dark": "lamp"}
    tools = {"plants": "basket", "insects": "net", "fish": "rod", "grain": "sickle"}
    return (
        ("home", HOMES, "{n} visits the home of the {t}. What is it like there?"),
        ("home", _renamed(HOMES, packed), "{n} goes to where the {t} lives. What should {n} take along?"),
        ("food", FOODS, "{n} feeds the {t}. Which kind of food does it need?"),
        ("food", _renamed(FOODS, tools), "{n} gathers food for the {t}. Which tool helps?"),
        ("color", HIDING, "The {t} hides from {n}. What is it hard to see in?"),
    )


def _renamed(groups: Groups, names: dict[str, str]) -> Groups:
    return {names[kind]: members for kind, members in groups.items()}


def inference(rng: random.Random) -> Problem:
    """One-step inference from a fact, as a four-way choice: the zorp lives in the desert, so a visitor takes a hat.

    The asker does not affect the answer, so `owner` assigns a thing and its derivation to one split for all askers.
    """
    number, thing, asker = rng.randrange(len(_DERIVED)), rng.choice(things()), rng.choice(NAMES)
    attribute, groups, wording = _DERIVED[number]
    right = next(kind for kind, members in groups.items() if thing.value(attribute) in members)
    wrong = tuple(kind for kind in groups if kind != right)
    prompt = wording.format(n=asker, t=thing.name)
    return Problem(f"inference {number} {thing.name}{_ASKED_BY}{asker}", prompt, right, wrong)


def owner(key: str) -> Split:
    """The split of an inference problem, which ignores the asker."""
    return split_of(key.partition(_ASKED_BY)[0])


_DERIVED = _derivations()
