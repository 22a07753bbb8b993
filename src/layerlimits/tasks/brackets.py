"""Complete a prefix of mixed brackets (Dyck-3), up to depth 10."""

from layerlimits.reference.world.brackets import bracket_prefix
from layerlimits.scoring import words
from layerlimits.tasks._world import drawn
from layerlimits.types import Task

brackets = Task(
    name="brackets",
    version=1,
    kind="generation",
    samples=drawn(bracket_prefix),
    score=lambda sample, response: words.judge_exact(response, sample.target),
    max_new_tokens=24,
    metric="exact match",
    scorer=2,
    summary="closing brackets for a prefix of mixed brackets, up to depth 10",
)
