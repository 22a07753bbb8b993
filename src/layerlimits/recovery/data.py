"""Training examples, and training prompts from the train splits of tasks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.types import FinishReason, Sample, Task

# Maximum answer length if no task defines one, that is, with choice tasks only.
_DEFAULT_ANSWER_TOKENS = 256


@dataclass(frozen=True)
class Example:
    """A training example: a prompt and its answer.

    Args:
        prompt_ids: The prompt exactly as the evaluator encodes it, including template and few-shot examples.
        answer: The answer.
        tokens: Number of tokens of the answer, without the end-of-sequence token.
        finish: Why the answer ended; only after "stop" does the model learn to end its turn.
        sample: The training item.
        draw: Number of the answer among those to the same prompt.
    Raises:
        UserError: The prompt is empty.
    """

    prompt_ids: tuple[int, ...]
    answer: str
    tokens: int
    finish: FinishReason = "stop"
    sample: Sample | None = field(default=None, compare=False)
    draw: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        check_prompt(self.prompt_ids)


def check_prompt(ids: Sequence[int]) -> None:
    """Check that a prompt is not empty.

    Raises:
        UserError: The prompt has no token.
    """
    if not ids:
        raise UserError("a training prompt has 0 tokens", "use training items that contain a question")


def answer_limit(tasks: Sequence[Task]) -> int:
    """The maximum length of the unpruned model's answers in tokens: the largest limit of the generation tasks.

    Choice and single-token tasks do not define an answer length; with only such tasks, the limit is 256.
    """
    limits = [task.max_new_tokens for task in tasks if task.kind == "generation" and task.asked == "free"]
    return max(limits, default=_DEFAULT_ANSWER_TOKENS)


def check_limit(limit: int) -> None:
    """Check the number of training prompts.

    Raises:
        UserError: `limit` is below 1.
    """
    if limit < 1:
        raise UserError(f"cannot train on {limit} prompts", "set the limit to 1 or more")


def training_prompts(tasks: Sequence[Task], limit: int, data_dir: Path | None) -> list[Sample]:
    """At most `limit` distinct training prompts, taken from the tasks in turn; the selection is deterministic.

    Prompts have the format of their task, including few-shot examples. Choice items become open questions without the
    choices, since the answer is to be text. If a task runs out of items, the other tasks fill its share.

    Raises:
        UserError: `limit` is below 1, an item has no question, or the tasks have no training prompts.
    """
    check_limit(limit)
    columns = [_open_samples(task, limit, data_dir) for task in tasks]
    rounds = chain.from_iterable(zip_longest(*columns))
    prompts = {sample.id: sample for sample in rounds if sample is not None}
    if not prompts:
        names = ", ".join(task.name for task in tasks) or "none given"
        raise UserError(f"no training prompts: the train split of {names} is empty", "add a task with a train split")
    return list(prompts.values())[:limit]


def _open_samples(task: Task, limit: int, data_dir: Path | None) -> list[Sample]:
    """A task's training items as open questions; an item is never its own few-shot example."""
    if task.variant and task.shots:
        # The benchmark puts its examples into the choices' contexts; open questions use as many examples as chat turns.
        items = task.variant(0, False).samples("train", limit + task.shots, data_dir)
        shown = tuple((item.question, item.shown or item.target) for item in items[: task.shots])
        return [_open(task, item, shown) for item in items[task.shots :]]
    items = task.samples("train", limit + task.shots, data_dir)
    return [
        _open(task, item, item.shots) for item in items if item.prompt not in {question for question, _ in item.shots}
    ]


def _open(task: Task, sample: Sample, shots: tuple[tuple[str, str], ...]) -> Sample:
    if not sample.prompt.strip():
        raise UserError(f"a training item of {task.name} has no question", "fix the item, or omit the task")
    # Values that scorers read, of tasks whose scorers read free answers.
    scored = dict(sample.meta) if can_score(task) else {}
    meta = {**scored, "question": sample.question, "task": task.name}
    return Sample(sample.prompt, sample.target, "train", meta=meta, shown=sample.shown, shots=shots)


def can_score(task: Task) -> bool:
    """Whether a task can score free answers to its training prompts."""
    return task.kind == "generation" and task.asked == "free"
