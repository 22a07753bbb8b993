"""Scores of a model in training on selection items, and the examples that are held out from training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from transformers import PreTrainedModel

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.models.stack import find_stack
from layerlimits.recovery.context import Scores
from layerlimits.recovery.data import Example
from layerlimits.types import ModelRef, Sample, Task

# One in this many prompts is held out, and at most so many.
_HELD_OUT_ONE_IN, _MOST_HELD_OUT = 20, 64


def scores_on(
    items: Sequence[tuple[Task, Sequence[Sample]]], origin: Loaded, folder: Path, options: AskOptions
) -> Scores:
    """Evaluates a model in memory on items, by the same evaluator as a saved one.

    Args:
        items: Tasks with their items.
        origin: The model before training, with its tokenizer.
        folder: Folder for the answers, so that an interrupted evaluation resumes.
        options: Settings of the evaluation.
    """

    def scores(model: PreTrainedModel, key: str) -> dict[str, list[float]]:
        ref = ModelRef(origin.ref.path, key, dtype=origin.ref.dtype)
        loaded = replace(origin, ref=ref, model=model, depth=len(find_stack(model)))
        with Store(folder) as store:
            evaluator = Evaluator(loaded, store, options)
            return {
                task.name: [verdict.value for verdict in evaluator.verdicts([()], task, samples)[0]]
                for task, samples in items
            }

    return scores


def heldout_split(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The examples to train on, and those to hold out: all answers to the last prompts."""
    prompts = list(dict.fromkeys(example.prompt_ids for example in examples))
    count = min(_MOST_HELD_OUT, max(1, len(prompts) // _HELD_OUT_ONE_IN)) if len(prompts) > 1 else 0
    apart = set(prompts[len(prompts) - count :])
    return (
        [example for example in examples if example.prompt_ids not in apart],
        [example for example in examples if example.prompt_ids in apart],
    )
