"""Evaluate the same items under three protocols, and with few-shot examples.

`likelihood` compares the likelihoods of given choices, `one_token` lets the model generate one token, `free` lets it
generate freely. Each task defines one of them; the others are derived here from the same items, so that scores differ
by protocol only.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from layerlimits.errors import UserError, unknown
from layerlimits.scoring import choices, letters, words
from layerlimits.scoring.near_misses import near_misses
from layerlimits.scoring.transcript import own_answer
from layerlimits.types import AskFormat, Response, Sample, Split, Task, Verdict, content_hash

_LETTER = "Answer with the letter of the right option alone."
_THINK = "Think step by step, then write 'Answer: X' on the last line, X being the letter of the right option."
# Enough for reasoning before the letter, as for the word problems.
_FREE_TOKENS = 512
# Enough to write out an option.
_SHORT_TOKENS = 32

Change = Callable[[Sample], Sample]


def under(task: Task, protocol: AskFormat) -> Task:
    """The task under a protocol, named `task@protocol` if that is not the task's own.

    Raises:
        UserError: The protocol is unknown, or the task has neither choices nor numeric answers.
    """
    if protocol not in get_args(AskFormat):
        raise unknown("protocol", protocol, get_args(AskFormat))
    if protocol == task.asked:
        return task
    if not (task.kind == "choice" or task.numeric):
        raise UserError(
            f"{task.name} does not support the protocol {protocol}: its items have no choices",
            "use choice or arithmetic tasks, or omit the protocol (--protocol)",
        )
    make = {"likelihood": _likelihood, "one_token": _one_token, "free": _free}[protocol]
    return replace(make(task), name=f"{task.name}@{protocol}", protocol=protocol, variant=None)


def with_shots(task: Task, shots: int, chat: bool | None) -> Task:
    """The task with few-shot examples, the first ones of its train split, before each item.

    Raises:
        UserError: The train split is too small; raised when samples are requested.
    """
    if task.variant and (shots or chat):
        changed = task.variant(shots, bool(chat))
        return replace(changed, name=f"{task.name}:shots={shots}", shots=shots) if shots else changed
    if not shots:
        return task

    def samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
        train = task.samples("train", shots, data_dir)
        if len(train) < shots:
            raise UserError(
                f"{shots} examples requested, but the train split of {task.name} has {len(train)}",
                f"use at most {len(train)}" if train else "use this task without examples",
            )
        examples = tuple((sample.prompt, sample.shown or sample.target) for sample in train)
        return [replace(sample, shots=examples) for sample in task.samples(split, limit, data_dir)]

    return replace(task, name=f"{task.name}:shots={shots}", shots=shots, samples=samples)


def _changed(task: Task, change: Change) -> Callable[[Split, int, Path | None], list[Sample]]:
    return lambda split, limit, data_dir: [
        replace(change(sample), pairs=(), origin=sample) for sample in task.samples(split, limit, data_dir)
    ]


def _likelihood(task: Task) -> Task:
    """Turn a numeric answer into choices: the number and near misses, in an order determined by a hash."""

    def change(sample: Sample) -> Sample:
        options = [sample.target, *near_misses(sample.target, key=sample.prompt)]
        options.sort(key=lambda option: content_hash([sample.id, option]))
        return replace(sample, choices=tuple(options))

    chance = 1 / (1 + len(near_misses("1")))
    return replace(task, kind="choice", samples=_changed(task, change), score=choices.judge, chance=chance)


def _one_token(task: Task) -> Task:
    if not task.letters:
        bare = _changed(task, lambda sample: replace(sample, choices=()))
        return replace(_generated(task, bare, _begins), max_new_tokens=1, chance=0.0, scorer=task.scorer + 1)
    return replace(_lettered(task, _LETTER, letters.judge_letter), max_new_tokens=1, scorer=task.scorer + 1)


def _free(task: Task) -> Task:
    if not task.letters:
        bare = _changed(task, lambda sample: replace(sample, choices=()))
        return replace(_generated(task, bare, _says), max_new_tokens=_SHORT_TOKENS, chance=0.0, scorer=task.scorer + 1)
    lettered = _lettered(task, _THINK, partial(letters.judge_free, instruction=_THINK))
    return replace(lettered, max_new_tokens=_FREE_TOKENS, scorer=task.scorer + 1)


def _generated(
    task: Task,
    samples: Callable[[Split, int, Path | None], list[Sample]],
    score: Callable[[Sample, Response], Verdict],
) -> Task:
    return replace(task, kind="generation", samples=samples, score=score)


def _lettered(task: Task, ask: str, judge: Callable[[Response, Sequence[str], str], Verdict]) -> Task:
    """The question with lettered options; for numeric answers, the options of the likelihood protocol."""
    weighed = task if task.kind == "choice" else _likelihood(task)

    def change(sample: Sample) -> Sample:
        right = string.ascii_uppercase[sample.choices.index(sample.target)]
        prompt = f"{letters.lettered(sample.prompt, sample.choices)}\n\n{ask}"
        shown = f"Answer: {right}" if ask is _THINK else right
        return replace(sample, prompt=prompt, shown=shown, choices=(), meta={**sample.meta, "choices": sample.choices})

    def score(sample: Sample, response: Response) -> Verdict:
        return judge(response, sample.meta["choices"], sample.target)

    return replace(_generated(task, _changed(weighed, change), score), chance=weighed.chance)


def _says(sample: Sample, response: Response) -> Verdict:
    return words.judge_words(response, sample.target)


def _begins(sample: Sample, response: Response) -> Verdict:
    """Whether the generated token is a prefix of the correct answer, as in the paper's first-digit probe."""
    text = own_answer(response).text.strip()
    if not text:
        return Verdict("no_answer", 0.0, why="empty response")
    right = sample.target.startswith(text)
    return Verdict("correct" if right else "wrong", float(right), text)
