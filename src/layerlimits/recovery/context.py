"""What a training needs besides data and settings: progress, evaluation while training, and a teacher."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from transformers import PreTrainedModel

from layerlimits.errors import UserError
from layerlimits.recovery.data import Example
from layerlimits.recovery.rows import StepProgress

# The scores of a model by task and item; the text identifies its weights.
Scores = Callable[[PreTrainedModel, str], dict[str, list[float]]]

# Each milestone has twice the tokens of the one before.
_RATIO = 2


@dataclass(frozen=True)
class CurvePlan:
    """Evaluation of the model in training: before the first step, and at numbers of tokens that double up to the end.

    Args:
        heldout: Examples that are not trained on, for the held-out loss.
        points: Number of milestones; the last one is the end of the training.
        scores: Evaluates the model on selection items.
    Raises:
        UserError: There are no held-out examples, or `points` is below 1.
    """

    heldout: Sequence[Example]
    points: int
    scores: Scores

    def __post_init__(self) -> None:
        if self.points < 1:
            raise UserError(f"cannot evaluate at {self.points} milestones", "set milestones to 1 or more")
        if not self.heldout:
            raise UserError("there are 0 held-out examples", "use more training prompts, or set milestones to 0")

    def steps(self, tokens_by_step: Sequence[int]) -> list[int]:
        """The steps after which the model is evaluated, ascending and distinct.

        Args:
            tokens_by_step: Number of trained tokens after each step, cumulative.
        """
        total = tokens_by_step[-1]
        wanted = [total / _RATIO**halvings for halvings in range(self.points)]
        reached = {next(step for step, tokens in enumerate(tokens_by_step, 1) if tokens >= target) for target in wanted}
        return sorted(reached)


@dataclass(frozen=True)
class TrainingContext:
    """What surrounds a training.

    Args:
        on_progress: Called with the number of completed steps and the total.
        curve: How the model is evaluated while it trains; None for no evaluation.
        teacher: The unpruned model, for the objective "distill".
        processes: Number of processes that train together.
        on_cpu: Whether several processes train on the CPU instead of one GPU each.
        save_to: Folder for the trained weights or adapters of several processes.
    """

    on_progress: StepProgress | None = None
    curve: CurvePlan | None = None
    teacher: PreTrainedModel | None = None
    processes: int = 1
    on_cpu: bool = True
    save_to: Path | None = None


def best_point(points: Sequence[Mapping[str, object]]) -> int | None:
    """The index of the point with the best mean score over tasks, and among equal ones the lowest held-out loss.

    The point before the first step does not count: training that makes a model worse is a result.
    """

    def rank(index: int) -> tuple[float, float]:
        scores: Mapping[str, Sequence[float]] = points[index]["scores"]  # type: ignore[assignment]  # JSON values
        means = [sum(values) / len(values) for values in scores.values() if values]
        loss: float = points[index]["heldout_loss"]  # type: ignore[assignment]  # JSON values
        return (sum(means) / len(means) if means else 0.0, -loss)

    trained = [index for index, point in enumerate(points) if point["tokens"]]
    return max(trained, key=rank) if trained else None
