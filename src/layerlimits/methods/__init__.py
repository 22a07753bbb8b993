"""Methods rank layers by how well a model can do without them. One file each, exporting one function.

A method is `def name(context: Context, *, option=default, ...) -> Ranking`. Its docstring gives the formula and ends
with a line `Source:` and a line `Cost:`. Everything is in the base model's numbering.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from layerlimits.calibration import Calibration
from layerlimits.errors import UserError
from layerlimits.evaluate import Evaluator
from layerlimits.types import Ranking, Task


@dataclass(frozen=True)
class Context:
    """What a method may look at.

    Args:
        evaluator: the loaded model, and a way to score it without some layers.
        rounds: how many layers a greedy method has to choose.
        tasks: tasks whose select split scores candidates, `items` of each.
        protected: layers never to remove; None leaves it to the method.
        tick: called with the number of responses newly there.
    """

    evaluator: Evaluator
    rounds: int
    calibration: Calibration
    tasks: tuple[Task, ...] = ()
    items: int = 32
    protected: tuple[int, ...] | None = None
    seed: int = 0
    tick: Callable[[int], None] = field(default=lambda done: None)

    @property
    def depth(self) -> int:
        """Layers of the unpruned model."""
        return self.evaluator.loaded.depth


Method = Callable[[Context], Ranking]


def by_score(
    method: str,
    scores: Sequence[float],
    protected: Sequence[int],
    used: Sequence[str] = (),
    *,
    largest_first: bool = False,
) -> Ranking:
    """A one-shot ranking: sorted by score, smallest first, ties to the later layer.

    Raises:
        UserError: a score that is not a finite number.
    """
    broken = [layer for layer, score in enumerate(scores) if not math.isfinite(score)]
    if broken:
        raise UserError(
            f"{method} gives layer {broken[0]} the score {scores[broken[0]]}",
            "use float32, or other calibration text",
        )
    sign = -1 if largest_first else 1
    free = [layer for layer in range(len(scores)) if layer not in protected]
    order = sorted(free, key=lambda layer: (sign * scores[layer], -layer))
    shown = tuple(None if layer in protected else score for layer, score in enumerate(scores))
    return Ranking(method, shown, tuple(order), tuple(used))


def described(method: Method, section: str) -> str:
    """The line `section:` of a method's docstring, such as its Source or Cost; empty where it has none."""
    for line in (inspect.getdoc(method) or "").splitlines():
        if line.startswith(f"{section}:"):
            return line.partition(":")[2].strip()
    return ""
