"""Answers to training prompts: those of the unpruned model, or those that the prompts come with."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.recording import Progress
from layerlimits.evaluation.thinking import with_opened_thought
from layerlimits.recovery.data import Example, can_score, check_prompt
from layerlimits.tasks import judged
from layerlimits.types import Response, Sample, Split, Task, Verdict

# Outcomes of answers that are not trained on, as they are counted.
TRUNCATED, EMPTY, TOO_LONG, WRONG = "truncated", "empty", "prompt too long", "wrong"
_DROPPED = {"truncated": TRUNCATED, "no_answer": EMPTY, "error": TOO_LONG}


@dataclass(frozen=True)
class Answers:
    """Training examples, and how many answers are not among them.

    Args:
        examples: The examples, in the order of the prompts.
        counts: Number of dropped answers by reason.
    """

    examples: list[Example]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """Number of dropped answers."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class AnswerFilter:
    """Which answers of the unpruned model are trained on.

    Args:
        keep_truncated: Keep answers that reached the token limit. The model does not learn to end its turn after them.
        scored_by: Tasks that score the answers to their prompts; only correct ones are kept (rejection sampling). Empty
            to keep all.
        unsafe: Run programs in answers without a sandbox.
    Raises:
        UserError: A task cannot score free answers.
    """

    keep_truncated: bool = False
    scored_by: tuple[Task, ...] = ()
    unsafe: bool = False

    def __post_init__(self) -> None:
        unable = [task.name for task in self.scored_by if not can_score(task)]
        if unable:
            raise UserError(
                f"{', '.join(unable)} cannot score free answers, so that correct ones cannot be selected",
                "omit correct_only (--correct-only), or use generation tasks only (--tasks)",
            )


_FINISHED = AnswerFilter()


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
        exact_limit=True,
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


def generate_answers(
    evaluator: Evaluator,
    samples: Sequence[Sample],
    max_new_tokens: int,
    on_progress: Progress | None = None,
    draws: int = 1,
    kept: AnswerFilter = _FINISHED,
) -> Answers:
    """Answers of the unpruned model, computed by the evaluator; stored answers are reused.

    Prompts are encoded as for evaluation, so the examples contain the same token ids.

    Args:
        evaluator: Evaluator of the unpruned model; its decoding is that of the answers.
        samples: The training prompts.
        max_new_tokens: Maximum length of an answer.
        on_progress: As for `Evaluator.ask`.
        draws: Answers per prompt.
        kept: Which answers become examples.
    Returns:
        The examples, all first answers before all second ones, and the number of dropped answers.
    Raises:
        UserError: A prompt is empty, or no answer can be used.
    """
    task = self_generated(max_new_tokens)
    prompts = [tuple(evaluator.prompt(task, sample).ids) for sample in samples]
    for prompt in prompts:
        check_prompt(prompt)
    (verdicts,) = evaluator.verdicts([()], task, samples, on_progress, draws=draws)
    examples: list[Example] = []
    dropped: Counter[str] = Counter()
    for draw in range(draws):
        responses = evaluator.responses((), task, samples, draw)
        ends = verdicts[draw * len(samples) : (draw + 1) * len(samples)]
        read = [
            with_opened_thought(evaluator.prompt(task, sample), response)
            for sample, response in zip(samples, responses, strict=True)
        ]
        reasons = _reasons(samples, read, ends, kept)
        dropped.update(filter(None, reasons))
        examples += [
            Example(prompt, response.text, len(response.tokens), response.finish, sample, draw)
            for prompt, sample, response, reason in zip(prompts, samples, responses, reasons, strict=True)
            if not reason
        ]
    if not examples:
        counts = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
        raise UserError(
            f"none of the {draws * len(samples)} answers can be used (at most {max_new_tokens} tokens): {counts}",
            "raise max_new_tokens (--max-new-tokens), or use prompts that the unpruned model can answer",
        )
    return Answers(examples, dropped)


def _reasons(
    samples: Sequence[Sample], responses: Sequence[Response], ends: Sequence[Verdict], kept: AnswerFilter
) -> list[str]:
    """Why each answer is dropped; empty if it is not."""
    usable = {"correct", "truncated"} if kept.keep_truncated else {"correct"}
    reasons = ["" if end.outcome in usable else _DROPPED[end.outcome] for end in ends]
    for task in kept.scored_by:
        # The evaluator scored only how the answers end.
        mine = [
            place for place, sample in enumerate(samples) if sample.meta.get("task") == task.name and not reasons[place]
        ]
        answered = [(samples[place], responses[place]) for place in mine]
        verdicts = judged(task, answered, kept.unsafe) if mine else []
        for place, verdict in zip(mine, verdicts, strict=True):
            reasons[place] = "" if verdict.outcome == "correct" else WRONG
    return reasons


def own_answers(evaluator: Evaluator, samples: Sequence[Sample]) -> Answers:
    """The answers that training prompts come with; prompts without one are dropped.

    Args:
        evaluator: Encodes the prompts.
        samples: The training prompts.
    Raises:
        UserError: No prompt comes with an answer.
    """
    task, tokenizer = self_generated(1), evaluator.loaded.tokenizer
    answers = [(sample.shown or sample.target).strip() for sample in samples]
    examples = [
        Example(
            tuple(evaluator.prompt(task, sample).ids),
            answer,
            len(tokenizer(answer, add_special_tokens=False)["input_ids"]),
            sample=sample,
        )
        for sample, answer in zip(samples, answers, strict=True)
        if answer
    ]
    if not examples:
        raise UserError(
            f"none of the {len(samples)} training prompts comes with an answer",
            "use another dataset, or the objective self (--objective self)",
        )
    return Answers(examples, {EMPTY: len(samples) - len(examples)} if len(examples) < len(samples) else {})
