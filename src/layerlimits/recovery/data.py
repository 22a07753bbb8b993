"""Self-generated training data: the unpruned model answers training prompts once, and what it finished is kept."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.variants import Progress
from layerlimits.sampling import check_items
from layerlimits.types import Response, Sample, Split, Task, Verdict, content_hash


@dataclass(frozen=True)
class Example:
    """A prompt with the answer to learn; `tokens` is how many tokens the answer took, the end token left out."""

    prompt: str
    answer: str
    tokens: int


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


def training_prompts(tasks: Sequence[Task], limit: int, data_dir: Path | None) -> list[Sample]:
    """At most `limit` training prompts, drawn evenly over the tasks in turn; each prompt once, always the same ones.

    A choice item is asked openly, without its choices: its answer is to be text. A task that runs out leaves its
    share to the others.

    Raises:
        UserError: `limit` outside 1 to `MAX_ITEMS`, or the tasks have no training prompt.
    """
    if limit < 1:
        raise UserError(f"cannot train on {limit} prompts", "set the limit to 1 or more")
    check_items(limit)
    columns = [[replace(sample, choices=()) for sample in task.samples("train", limit, data_dir)] for task in tasks]
    rounds = chain.from_iterable(zip_longest(*columns))
    prompts = {sample.id: sample for sample in rounds if sample is not None}
    if not prompts:
        names = ", ".join(task.name for task in tasks) or "none given"
        raise UserError(f"no training prompt: 0 items in the train split of {names}", "give a task with a train split")
    return list(prompts.values())[:limit]


def answer(
    evaluator: Evaluator, samples: Sequence[Sample], max_new_tokens: int, tick: Progress | None = None
) -> tuple[list[Example], int]:
    """What the unpruned model answers, through the evaluator's store: nothing stored is asked again.

    Returns:
        The finished answers in the order of `samples`, and how many were dropped (cut short, or empty).
    Raises:
        UserError: not one answer was finished; or a prompt too long for the model.
    """
    task = self_generated(max_new_tokens)
    (verdicts,) = evaluator.verdicts([()], task, samples, tick, draws=1)
    examples = []
    responses = evaluator.responses((), task, samples)
    for sample, response, verdict in zip(samples, responses, verdicts, strict=True):
        if verdict.outcome == "correct":
            examples.append(Example(sample.prompt, response.text, len(response.tokens)))
    if not examples:
        cut = sum(verdict.outcome == "truncated" for verdict in verdicts)
        raise UserError(
            f"none of {len(samples)} answers is finished: {cut} are cut at {max_new_tokens} tokens",
            "raise max_new_tokens, or give prompts that the unpruned model can answer",
        )
    return examples, len(samples) - len(examples)


def check_disjoint(training: Sequence[Sample], evaluated: Sequence[Sample]) -> None:
    """Refuse to train on a prompt that is evaluated too, whatever choices or target either has.

    Raises:
        UserError: with how many prompts are in both, and one of them.
    """
    asked = {content_hash(sample.prompt, 64) for sample in evaluated}
    shared = [sample.prompt for sample in training if content_hash(sample.prompt, 64) in asked]
    if shared:
        raise UserError(
            f"{len(shared)} of {len(training)} training prompts are among the {len(asked)} evaluated ones, "
            f"such as {shared[0][:60]!r}",
            "train on other prompts: keep the train and evaluate splits of the data apart",
        )
