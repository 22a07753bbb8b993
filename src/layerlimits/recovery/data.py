"""Self-generated training data: the unpruned model answers training prompts once, and what it finished is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.variants import Progress
from layerlimits.types import Response, Sample, Split, Task, Verdict

# The longest answer where no task says how long answers are: choice tasks alone.
_DEFAULT_ANSWER_TOKENS = 256


@dataclass(frozen=True)
class Example:
    """A prompt with the answer to learn.

    Args:
        prompt_ids: the prompt exactly as the evaluator feeds it, template and examples included.
        answer: what the unpruned model wrote.
        tokens: how many tokens the answer took, the end token left out.
    Raises:
        UserError: the prompt is empty.
    """

    prompt_ids: tuple[int, ...]
    answer: str
    tokens: int

    def __post_init__(self) -> None:
        check_prompt(self.prompt_ids)


def check_prompt(ids: Sequence[int]) -> None:
    """Refuse to answer, or train on, a prompt that asks nothing.

    Raises:
        UserError: there is no token.
    """
    if not ids:
        raise UserError("a training prompt has 0 tokens", "give training items that hold a question")


def self_generated(max_new_tokens: int) -> Task:
    """The task of answering training prompts: a response is correct if it came to its end and says something.

    Raises:
        UserError: `max_new_tokens` below 1.
    """
    if max_new_tokens < 1:
        raise UserError(f"max_new_tokens is {max_new_tokens}: no answer fits", "set it to 1 or more, such as 256")
    return Task(
        name="self_generated",
        # The store's key holds the version but not where answers are cut: other cuts are other answers.
        version=max_new_tokens,
        kind="generation",
        samples=_no_samples,
        score=_finished,
        max_new_tokens=max_new_tokens,
        metric="finished",
        summary="training prompts, answered by the unpruned model",
    )


def _no_samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
    """The prompts come from other tasks, by `training_prompts`."""
    return []


def _finished(sample: Sample, response: Response) -> Verdict:
    if response.finish != "stop":
        return Verdict("truncated", 0.0, why=f"cut after {len(response.tokens)} tokens")
    if not response.text.strip():
        return Verdict("no_answer", 0.0, why="empty response")
    return Verdict("correct", 1.0, response.text)


def answer_limit(tasks: Sequence[Task]) -> int:
    """Where the unpruned model's answers are cut, in tokens: the longest answer that the generation tasks allow.

    Choice tasks and single tokens say nothing about the length of an answer; without other tasks it is 256.
    """
    limits = [task.max_new_tokens for task in tasks if task.kind == "generation" and task.asked == "free"]
    return max(limits, default=_DEFAULT_ANSWER_TOKENS)


def training_prompts(tasks: Sequence[Task], limit: int, data_dir: Path | None) -> list[Sample]:
    """At most `limit` training prompts, drawn evenly over the tasks in turn; each prompt once, always the same ones.

    An item is asked as its task asks it, examples included. A choice item is asked openly, its question without the
    choices: the answer is to be text. A task that runs out leaves its share to the others.

    Raises:
        UserError: `limit` below 1, an item without a question, or the tasks have no training prompt.
    """
    if limit < 1:
        raise UserError(f"cannot train on {limit} prompts", "set the limit to 1 or more")
    columns = [_open_samples(task, limit, data_dir) for task in tasks]
    rounds = chain.from_iterable(zip_longest(*columns))
    prompts = {sample.id: sample for sample in rounds if sample is not None}
    if not prompts:
        names = ", ".join(task.name for task in tasks) or "none given"
        raise UserError(f"no training prompt: 0 items in the train split of {names}", "give a task with a train split")
    return list(prompts.values())[:limit]


def _open_samples(task: Task, limit: int, data_dir: Path | None) -> list[Sample]:
    """A task's training items as open questions; an item never has itself for an example."""
    if task.variant and task.shots:
        # The benchmark shows examples inside its choices' contexts. Open questions show the same number as turns.
        items = task.variant(0, False).samples("train", limit + task.shots, data_dir)
        shown = tuple((item.question, item.shown or item.target) for item in items[: task.shots])
        return [_open(task, item, shown) for item in items[task.shots :]]
    items = task.samples("train", limit + task.shots, data_dir)
    return [
        _open(task, item, item.shots) for item in items if item.prompt not in {question for question, _ in item.shots}
    ]


def _open(task: Task, sample: Sample, shots: tuple[tuple[str, str], ...]) -> Sample:
    if not sample.prompt.strip():
        raise UserError(f"a training item of {task.name} has no question", "mend the item, or leave the task out")
    return Sample(sample.prompt, sample.target, "train", meta={"question": sample.question}, shots=shots)


def generate_answers(
    evaluator: Evaluator, samples: Sequence[Sample], max_new_tokens: int, on_progress: Progress | None = None
) -> tuple[list[Example], int]:
    """What the unpruned model answers, through the evaluator's store: nothing stored is asked again.

    The model is asked as the evaluator asks everything else, so the examples hold the ids that it is evaluated with.

    Returns:
        The finished answers in the order of `samples`, and how many were dropped (cut short, or empty).
    Raises:
        UserError: a prompt is empty, or not one answer was finished.
    """
    task = self_generated(max_new_tokens)
    prompts = [tuple(evaluator.prompt(task, sample).ids) for sample in samples]
    for prompt in prompts:
        check_prompt(prompt)
    (verdicts,) = evaluator.verdicts([()], task, samples, on_progress, draws=1)
    responses = evaluator.responses((), task, samples)
    examples = [
        Example(prompt, response.text, len(response.tokens))
        for prompt, response, verdict in zip(prompts, responses, verdicts, strict=True)
        if verdict.outcome == "correct"
    ]
    if not examples:
        cut, unasked = (sum(verdict.outcome == outcome for verdict in verdicts) for outcome in ("truncated", "error"))
        raise UserError(
            f"none of {len(samples)} answers is finished: {cut} are cut at {max_new_tokens} tokens, and "
            f"{unasked} prompts are too long for the model",
            "raise max_new_tokens, or give prompts that the unpruned model can answer",
        )
    return examples, len(samples) - len(examples)
