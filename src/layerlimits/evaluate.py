"""Asking a model a task's items: batches fixed in advance, each committed whole, finished ones never repeated."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.plugins import find
from layerlimits.store import Key, Store, response_key
from layerlimits.types import Engine, ModelRef, Response, Sample, Task, Verdict, content_hash

GREEDY = "greedy"

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Prompt:
    """A sample as the model reads it: token ids of the prompt and of each choice."""

    sample: Sample
    ids: list[int]
    choices: list[list[int]]

    @property
    def hash(self) -> str:
        """Identifies the exact tokens asked, template included."""
        return content_hash([self.ids, self.choices])


def encode(tokenizer: PreTrainedTokenizerBase, sample: Sample) -> Prompt:
    """The sample through the model's own chat template; plain text where it has none."""
    if tokenizer.chat_template:
        encoded: Any = tokenizer.apply_chat_template(sample.messages, add_generation_prompt=True, return_dict=True)
        ids, space = list(encoded["input_ids"]), ""
    else:
        ids, space = list(tokenizer(f"{sample.prompt}\n")["input_ids"]), " "
    choices = [list(tokenizer(space + choice, add_special_tokens=False)["input_ids"]) for choice in sample.choices]
    return Prompt(sample, ids, choices)


def batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Batches of prompts of similar length; a function of the prompts alone, so a resumed run forms the same ones."""
    ordered = sorted(prompts, key=lambda prompt: (len(prompt.ids), prompt.sample.id))
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def ask(engine: Engine, task: Task, batch: list[Prompt]) -> list[Response]:
    """The engine's responses to one batch."""
    ids = [prompt.ids for prompt in batch]
    if task.kind == "choice":
        return engine.choose(ids, [prompt.choices for prompt in batch])
    return engine.generate(ids, task.max_new_tokens)


class Evaluator:
    """Answers tasks with variants of one loaded model, through the run's store.

    Args:
        engine: name of the engine plug-in.
        batch_size: prompts a batch; part of what a run fixes, since rounding depends on it.
    """

    def __init__(self, loaded: Loaded, store: Store, engine: str = "transformers", batch_size: int = 64) -> None:
        self.loaded, self.store, self.batch_size = loaded, store, batch_size
        self.engine: Engine = find("engines", engine)(loaded.model, loaded.tokenizer)
        self.computed = 0
        self._prompts: dict[tuple[str, str], Prompt] = {}
        self._checked: set[tuple[int, ...]] = {()}

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The sample as this model reads it."""
        key = (task.name, sample.id)
        if key not in self._prompts:
            self._prompts[key] = encode(self.loaded.tokenizer, sample)
        return self._prompts[key]

    def keys(self, ref: ModelRef, task: Task, samples: Sequence[Sample]) -> list[Key]:
        """The store's key of each sample's response."""
        return [response_key(ref, task, sample, self.prompt(task, sample).hash, GREEDY) for sample in samples]

    def verdicts(
        self, removed: Sequence[int], task: Task, samples: Sequence[Sample], tick: Progress | None = None
    ) -> list[Verdict]:
        """Verdicts in the order of `samples`, of the model without these layers; asks only what is not stored.

        Args:
            tick: called with the number of responses newly there, for a progress bar.
        Raises:
            UserError: removing the layers changes nothing (the canary), or a prompt is too long for the model.
        """
        ref = self.loaded.ref.without(tuple(removed))
        keys = dict(zip((sample.id for sample in samples), self.keys(ref, task, samples), strict=True))
        prompts = [self.prompt(task, sample) for sample in samples]
        missing = [
            batch
            for batch in batches(prompts, self.batch_size)
            if any(self.store.verdict(keys[prompt.sample.id]) is None for prompt in batch)
        ]
        if missing:
            self._register(ref, task, samples)
        with without_layers(self.loaded.model, ref.removed) if missing else nullcontext():
            for batch in missing:
                self._commit(task, batch, keys)
                if tick:
                    tick(len(batch))
        found = [self.store.verdict(keys[sample.id]) for sample in samples]
        assert all(found)
        return [verdict for verdict in found if verdict]

    def _register(self, ref: ModelRef, task: Task, samples: Sequence[Sample]) -> None:
        if ref.removed not in self._checked:
            self.loaded.check_canary(ref.removed)
            self._checked.add(ref.removed)
        self.store.add_model(ref, {"layers": self.loaded.depth})
        self.store.add_samples(task, samples)

    def _commit(self, task: Task, batch: list[Prompt], keys: dict[str, Key]) -> None:
        """Ask the whole batch, even where part of it is stored (from a run with other limits): rounding depends on
        the batch. Only what is missing is written.
        """
        began = time.perf_counter()
        responses = ask(self.engine, task, batch)
        spent = time.perf_counter() - began
        self.computed += len(batch)
        fresh = [
            (keys[prompt.sample.id], response, task.score(prompt.sample, response))
            for prompt, response in zip(batch, responses, strict=True)
            if self.store.verdict(keys[prompt.sample.id]) is None
        ]
        self.store.add(fresh)
        self.store.add_time(task.name, spent, len(batch), sum(len(response.tokens) for response in responses))
