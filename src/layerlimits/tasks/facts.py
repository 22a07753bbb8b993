"""Open questions about attributes of invented things; the wording of the evaluated questions is held out."""

from layerlimits.reference.world import things
from layerlimits.scoring import words
from layerlimits.tasks._world import listed
from layerlimits.types import Task

facts = Task(
    name="facts",
    version=1,
    kind="generation",
    samples=listed(things.facts),
    score=lambda sample, response: words.judge_words(response, sample.target),
    max_new_tokens=16,
    metric="exact match",
    scorer=2,
    summary="open questions about attributes of 200 invented things",
)
