"""Self-generated training data: finished answers of the unpruned model to training prompts."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.recording import Progress
from layerlimits.hub import first_rows
from layerlimits.paths import given_path
from layerlimits.types import Response, Sample, Split, Task, Verdict

# Maximum answer length if no task defines one, that is, with choice tasks only.
_DEFAULT_ANSWER_TOKENS = 256


@dataclass(frozen=True)
class Example:
    """A training example: a prompt and its answer.

    Args:
        prompt_ids: The prompt exactly as the evaluator encodes it, including template and few-shot examples.
        answer: The answer of the unpruned model.
        tokens: Number of tokens of the answer, without the end-of-sequence token.
    Raises:
        UserError: The prompt is empty.
    """

    prompt_ids: tuple[int, ...]
    answer: str
    tokens: int

    def __post_init__(self) -> None:
        check_prompt(self.prompt_ids)


def check_prompt(ids: Sequence[int]) -> None:
    """Check that a prompt is not empty.

    Raises:
        UserError: The prompt has no token.
    """
    if not ids:
        raise UserError("a training prompt has 0 tokens", "use training items that contain a question")


def self_generated(max_new_tokens: int) -> Task:
    """The task of answering training prompts: a response is correct if it is finished and not empty.

    Raises:
        UserError: `max_new_tokens` is below 1.
    """
    if max_new_tokens < 1:
        raise UserError(
            f"max_new_tokens is {max_new_tokens}, but must be at least 1", "set it to 1 or more, such as 256"
        )
    return Task(
        name="self_generated",
        # The store's key contains the version but not the limit, and a different limit gives different answers.
        version=max_new_tokens,
        kind="generation",
        samples=_no_samples,
        score=_finished,
        max_new_tokens=max_new_tokens,
        metric="finished",
        summary="training prompts, answered by the unpruned model",
    )


def _no_samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
    """No samples: the prompts come from other tasks, see `training_prompts`."""
    return []


def _finished(sample: Sample, response: Response) -> Verdict:
    if response.finish != "stop":
        return Verdict("truncated", 0.0, why=f"truncated after {len(response.tokens)} tokens")
    if not response.text.strip():
        return Verdict("no_answer", 0.0, why="empty response")
    return Verdict("correct", 1.0, response.text)


def answer_limit(tasks: Sequence[Task]) -> int:
    """The maximum length of the unpruned model's answers in tokens: the largest limit of the generation tasks.

    Choice and single-token tasks do not define an answer length; with only such tasks, the limit is 256.
    """
    limits = [task.max_new_tokens for task in tasks if task.kind == "generation" and task.asked == "free"]
    return max(limits, default=_DEFAULT_ANSWER_TOKENS)


def training_prompts(tasks: Sequence[Task], limit: int, data_dir: Path | None) -> list[Sample]:
    """At most `limit` distinct training prompts, taken from the tasks in turn; the selection is deterministic.

    Prompts have the format of their task, including few-shot examples. Choice items become open questions without the
    choices, since the answer is to be text. If a task runs out of items, the other tasks fill its share.

    Raises:
        UserError: `limit` is below 1, an item has no question, or the tasks have no training prompts.
    """
    _check_limit(limit)
    columns = [_open_samples(task, limit, data_dir) for task in tasks]
    rounds = chain.from_iterable(zip_longest(*columns))
    prompts = {sample.id: sample for sample in rounds if sample is not None}
    if not prompts:
        names = ", ".join(task.name for task in tasks) or "none given"
        raise UserError(f"no training prompts: the train split of {names} is empty", "add a task with a train split")
    return list(prompts.values())[:limit]


def instruction_prompts(source: str | Path, limit: int) -> list[Sample]:
    """The first `limit` distinct prompts of an instruction dataset; blank prompts are skipped.

    Args:
        source: A `.jsonl` file, or a dataset, a hub id (such as "tatsu-lab/alpaca") or folder, as "id", "id:split" or
            "id:configuration:split"; the default split is "train". Its columns are `instruction` and optionally
            `input`, which follows after a blank line; `prompt`, a text or a list of messages; or `messages`. Of
            messages, the first one of the user is the prompt.
        limit: Maximum number of prompts.

    Raises:
        UserError: `limit` is below 1, the source cannot be read or has other columns, or all prompts are blank.
    """
    _check_limit(limit)
    file = given_path(source, "the instruction dataset")
    seen: set[str] = set()

    def pick(row: jsonl.Row, where: str = "") -> Sample | None:
        try:
            sample = _instruction(row)
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{where or f'dataset {source}'} is not an instruction: it has the columns {', '.join(row) or 'none'}",
                "use texts named instruction (and input) or prompt, or a list of messages named messages",
            ) from None
        if not sample.prompt.strip() or sample.id in seen:
            return None
        seen.add(sample.id)
        return sample

    if file.is_file() or file.suffix == ".jsonl":
        picked = (pick(row, f"{file}, line {number}") for number, row in jsonl.rows(file))
        prompts = list(islice((sample for sample in picked if sample), limit))
    else:
        prompts = first_rows(str(source), limit, pick, "use a local .jsonl file or a folder of data files")
    if not prompts:
        raise UserError(f"no training prompts: {source} has no prompt that is not blank", "use another dataset")
    return prompts


def _instruction(row: jsonl.Row) -> Sample:
    """The prompt of a row, and its answer if there is one.

    Raises:
        KeyError, TypeError, AttributeError: The row has other columns, or columns of other types.
    """
    if "instruction" in row:
        parts = [row["instruction"].strip(), (row.get("input") or "").strip()]
        return Sample("\n\n".join(filter(None, parts)), (row.get("output") or "").strip(), "train")
    asked = row["messages"] if "messages" in row else row["prompt"]
    if isinstance(asked, str):
        return Sample(asked.strip(), (row.get("response") or row.get("completion") or "").strip(), "train")
    prompt, answer = (
        next((turn["content"] for turn in asked if turn["role"] == role), "") for role in ("user", "assistant")
    )
    return Sample(prompt.strip(), answer.strip(), "train")


def _check_limit(limit: int) -> None:
    """Check the number of training prompts.

    Raises:
        UserError: `limit` is below 1.
    """
    if limit < 1:
        raise UserError(f"cannot train on {limit} prompts", "set the limit to 1 or more")


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
    return Sample(sample.prompt, sample.target, "train", meta={"question": sample.question}, shots=shots)


def generate_answers(
    evaluator: Evaluator, samples: Sequence[Sample], max_new_tokens: int, on_progress: Progress | None = None
) -> tuple[list[Example], int]:
    """Answers of the unpruned model, computed by the evaluator; stored answers are reused.

    Prompts are encoded as for evaluation, so the examples contain the same token ids.

    Returns:
        The finished answers in the order of `samples`, and the number of dropped answers (truncated or empty).
    Raises:
        UserError: A prompt is empty, or no answer is finished.
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
        truncated, too_long = (
            sum(verdict.outcome == outcome for verdict in verdicts) for outcome in ("truncated", "error")
        )
        raise UserError(
            f"none of the {len(samples)} answers is finished: {truncated} are truncated at {max_new_tokens} tokens, "
            f"and {too_long} prompts are too long for the model",
            "raise max_new_tokens, or use prompts that the unpruned model can answer",
        )
    return examples, len(samples) - len(examples)
