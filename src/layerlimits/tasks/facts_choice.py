"""The questions of `facts` as four-way multiple choice; distractors are values of the same attribute."""

from layerlimits.reference.world import things
from layerlimits.scoring import choices
from layerlimits.tasks._world import listed
from layerlimits.types import Task

facts_choice = Task(
    name="facts_choice",
    version=1,
    kind="choice",
    samples=listed(things.facts, choice=True),
    score=choices.judge,
    chance=0.25,
    letters=False,
    summary="the questions of facts as four-way multiple choice",
)
