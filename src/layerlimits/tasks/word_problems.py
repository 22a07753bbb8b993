"""Word problems of two to five steps, answered with worked steps and `#### n` (the format of GSM8K)."""

from layerlimits.reference.world.stories import story
from layerlimits.scoring import numbers
from layerlimits.tasks._world import drawn
from layerlimits.types import Task

word_problems = Task(
    name="word_problems",
    version=1,
    kind="generation",
    samples=drawn(story),
    score=lambda sample, response: numbers.judge(
        response, sample.target.rpartition("#### ")[2], sample.prompt, marker=True
    ),
    max_new_tokens=96,
    metric="accuracy",
    scorer=2,
    summary="word problems of two to five steps, answered with worked steps",
)
