"""Short news articles with one-sentence summaries (the counterpart of XSum)."""

import random

from layerlimits.reference.world.problem import Problem

_TOWNS = (
    "Brell Ostan Varde Kilmo Tharn Pello Quist Morva Dunley Harb Selby Yarrow Corvin Lunt Aster Feldon Grale Inver "
    "Jorvik Nessa Ruston Weld Zarin Ulmar"
).split()
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PLACES = ("library", "school", "bridge", "museum", "market", "harbor", "station", "theater")
_GOODS = ("painting", "bicycle", "violin", "tractor", "necklace", "clock", "boat", "lamp")
_JOBS = ("baker", "teacher", "farmer", "driver", "painter", "doctor", "sailor", "singer")
_ANIMALS = ("beetle", "frog", "owl", "snail", "moth", "lizard", "crab", "bat")
_FILLER = (
    "The mayor was pleased.",
    "Many people came to watch.",
    "It had rained all week.",
    "A local paper told the story.",
    "More news is expected soon.",
    "Nobody was hurt.",
)

# First sentence, further sentences in any order, summary. The summary needs slots from more than one sentence.
_FRAMES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "Work in {town} ended on {day}.",
        ("The new {place} is open at last.", "It cost {n} million dollars."),
        "A new {place} opened in {town} for {n} million dollars.",
    ),
    (
        "A storm hit {town} on {day}.",
        ("Winds broke the roof of the {place}.", "About {n} homes lost power."),
        "A storm in {town} broke the roof of the {place} and left {n} homes without power.",
    ),
    (
        "Police in {town} made an arrest on {day}.",
        ("The suspect is a {job}.", "A {good} had been missing for {n} days."),
        "A {job} was arrested in {town} over a missing {good}.",
    ),
    (
        "The teams of {town} and {other} met on {day}.",
        ("{town} scored {m} goals.", "{other} scored {n} goals."),
        "{town} played {other} and the score was {m} to {n}.",
    ),
    (
        "A {job} from {town} went for a walk on {day}.",
        ("By the {place} there was a new kind of {animal}.", "It weighs {n} grams."),
        "A {job} found a new kind of {animal} in {town}.",
    ),
)


def article(rng: random.Random) -> Problem:
    """An article of about four sentences and its summary; the key is the summarized event."""
    first, more, summary = rng.choice(_FRAMES)
    town, other = rng.sample(_TOWNS, 2)
    slots = {
        "town": town,
        "other": other,
        "day": rng.choice(_DAYS),
        "place": rng.choice(_PLACES),
        "good": rng.choice(_GOODS),
        "job": rng.choice(_JOBS),
        "animal": rng.choice(_ANIMALS),
        "m": rng.randint(2, 60),
        "n": rng.randint(2, 60),
    }
    rest = [*more, *rng.sample(_FILLER, rng.randint(1, 2))]
    rng.shuffle(rest)
    summary_text = summary.format(**slots)
    text = " ".join(sentence.format(**slots) for sentence in [first, *rest])
    return Problem(f"article {summary_text}", f"Summarize: {text}", summary_text)
