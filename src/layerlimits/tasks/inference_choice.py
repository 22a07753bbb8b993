"""Four-way multiple choice with one inference step over the facts (the role of ARC and MMLU)."""

from layerlimits.reference.world.things import inference, owner
from layerlimits.scoring import choices
from layerlimits.tasks._world import drawn
from layerlimits.types import Task

inference_choice = Task(
    name="inference_choice",
    version=1,
    kind="choice",
    samples=drawn(inference, owner, choice=True),
    score=choices.judge,
    chance=0.25,
    letters=False,
    summary="one inference step over the facts, as four-way multiple choice",
)
