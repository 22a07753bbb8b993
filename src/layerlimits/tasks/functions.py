"""Functions described in words, answered with one line of Python, scored on hidden inputs."""

from layerlimits.reference.world.functions import HIDDEN_INPUTS, function
from layerlimits.scoring import expressions
from layerlimits.tasks._world import drawn
from layerlimits.types import Task

functions = Task(
    name="functions",
    version=1,
    kind="generation",
    samples=drawn(function),
    score=lambda sample, response: expressions.judge(response, sample.target, HIDDEN_INPUTS),
    max_new_tokens=80,
    metric="pass rate",
    scorer=2,
    summary="chains of operations described in words, answered with one line of Python, scored on hidden inputs",
)
