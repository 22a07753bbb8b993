"""Choice benchmarks with the prompts, options and scores of lm-evaluation-harness."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from layerlimits.errors import UserError
from layerlimits.tasks._choice_data import ChoiceBenchmark, Item, exists, items_of, stamp_of
from layerlimits.tasks._data import OF_TEST, OF_TRAIN, Row, split_of
from layerlimits.types import Response, Sample, Split, Task, Verdict

# Default few-shot seed of the `lm_eval` command.
_SEED = 1234


@dataclass(frozen=True)
class Asked:
    """The items with their (context, continuation) pairs, called like `Task.samples`.

    If there are training items (for mmlu, its validation items), all test items form the `evaluate` split, and the
    other splits are taken from the training items whose questions are not evaluated; otherwise all splits are taken
    from the test items. Items are in file order, alternating between parts. Duplicate items are evaluated twice, as in
    the harness.

    Few-shot examples come from the training items (for mmlu, its dev items) or from the `train` split of the test
    items. The harness draws them item by item, so the first items get the same examples for any limit.

    Args:
        shots: Number of examples before each item.
        chat: Whether contexts are chat messages, with two messages per example.
    """

    benchmark: ChoiceBenchmark
    shots: int = 0
    chat: bool = False

    def __call__(self, split: Split, limit: int, data_dir: Path | None = None) -> list[Sample]:
        """The first `limit` samples of the split, in a fixed order.

        Raises:
            UserError: A file is missing, empty or invalid, the hub cannot be reached, or there are too few examples.
        """
        return list(_first(self, split, limit, data_dir, stamp_of(self.benchmark, data_dir)))

    def whole(self, data_dir: Path | None = None) -> list[Sample]:
        """All items of the test file in order, regardless of split.

        Raises:
            UserError: As for a split.
        """
        return self._asked(items_of(self.benchmark, self.benchmark.split, data_dir), None, data_dir)

    def _of(self, split: Split, data_dir: Path | None) -> list[Item]:
        """The split's items."""
        test = items_of(self.benchmark, self.benchmark.split, data_dir)
        if not exists(self.benchmark, self.benchmark.train, data_dir):
            return [item for item in test if split_of(item.key, OF_TEST) == split]
        if split == "evaluate":
            return list(test)
        evaluated = {item.key for item in test}
        train = [item for item in items_of(self.benchmark, self.benchmark.train, data_dir) if item.key not in evaluated]
        return [item for item in train if split_of(item.key, OF_TRAIN) == split]

    def _examples(self, split: Split | None, data_dir: Path | None) -> list[Item]:
        """The few-shot examples available for a split, or for the whole test file if None."""
        training = self.benchmark.examples == self.benchmark.train and split in ("select", "calibrate", "train")
        if not training and exists(self.benchmark, self.benchmark.examples, data_dir):
            return list(items_of(self.benchmark, self.benchmark.examples, data_dir))
        if split in ("train", None):
            raise UserError(
                f"few-shot examples of {self.benchmark.name} come from its train split, which would also be evaluated",
                "use another split, or 0 examples",
            )
        return self._of("train", data_dir)

    def _asked(self, items: Sequence[Item], split: Split | None, data_dir: Path | None) -> list[Sample]:
        parts = {item.part: item.task for item in items}
        examples = self._examples(split, data_dir) if self.shots else []
        for part, task in parts.items():
            # The harness's task keeps the state of its random generator.
            task.set_fewshot_seed(_SEED)
            if self.shots:
                self._give(task, [item.doc for item in examples if item.part == part], part)
        return [replace(item.sample, split=split or "evaluate", pairs=self._pairs(item)) for item in items]

    def _give(self, task: Any, examples: list[Row], part: str) -> None:
        # If examples and items share a split, the harness draws one more, so that no item is its own example.
        most = len(examples) - (task.fewshot_cfg.split == task.config.test_split)
        if self.shots > most:
            raise UserError(
                f"{self.shots} examples requested, but {part or self.benchmark.name} has {max(most, 0)}",
                f"use at most {max(most, 0)} examples, or provide a larger {self.benchmark.examples} file",
            )
        task.sampler.replace_df(examples)

    def _pairs(self, item: Item) -> tuple[tuple[Any, str], ...]:
        context = item.task.fewshot_context(
            item.doc,
            num_fewshot=self.shots,
            apply_chat_template=self.chat,
            fewshot_as_multiturn=self.chat,
            chat_template=_as_they_are,
            gen_prefix=item.task.doc_to_prefix(item.doc),
        )
        requests = item.task.construct_requests(item.doc, context, apply_chat_template=self.chat)
        return tuple(request.args for request in requests)


def _as_they_are(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> list[dict[str, str]]:
    """A chat template for the harness that returns the messages; the model's own template is applied later."""
    return messages


@lru_cache(maxsize=64)
def _first(asked: Asked, split: Split, limit: int, data_dir: Path | None, stamp: object) -> tuple[Sample, ...]:
    """The first samples of a split; cached per process until a file changes."""
    items, turns, before = asked._of(split, data_dir), [], Counter[str]()
    for item in items:
        turns.append(before[item.part])
        before[item.part] += 1
    # Alternate between parts; without parts this is the file order.
    ordered = [items[index] for index in sorted(range(len(items)), key=turns.__getitem__)]
    return tuple(asked._asked(ordered[:limit], split, data_dir))


def harness_task(benchmark: ChoiceBenchmark, *, version: int, chance: float, summary: str) -> Task:
    """The zero-shot task in plain text; `variant` creates the others."""
    task = Task(
        name=benchmark.name,
        version=version,
        kind="choice",
        samples=Asked(benchmark),
        score=_score,
        chance=chance,
        metric="accuracy",
        summary=summary,
    )

    def variant(shots: int, chat: bool) -> Task:
        return replace(task, samples=Asked(benchmark, shots, chat), shots=shots, variant=variant)

    return replace(task, variant=variant)


def _score(sample: Sample, response: Response) -> Verdict:
    """The harness's own score; metrics other than accuracy, such as acc_norm, are in `measures`."""
    scores = sample.meta["judge"]([(logprob, False) for logprob in response.logprobs])
    right = bool(scores.pop("acc"))
    answer = sample.choices[int(np.argmax(response.logprobs))]
    measures = {name: float(value) for name, value in scores.items()}
    return Verdict("correct" if right else "wrong", float(right), answer, measures=measures)
