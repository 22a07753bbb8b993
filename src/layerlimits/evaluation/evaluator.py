"""Asking a model a task's items: batches fixed in advance, each committed whole, finished ones never repeated."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from layerlimits.evaluation.prompts import Prompt, batches, check_chat, encode, room
from layerlimits.evaluation.store import Key, Store, response_key
from layerlimits.evaluation.variants import Together
from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.plugins import find
from layerlimits.tasks import judged
from layerlimits.types import (
    GREEDY,
    Decoding,
    Engine,
    ManyVariants,
    ModelRef,
    Response,
    Sample,
    Task,
    Verdict,
    content_hash,
)

Progress = Callable[[int], None]

# What stands for a response where the prompt leaves no room for one.
_NOT_ASKED = Response("", (), "context")


class Evaluator:
    """Answers tasks with variants of one loaded model, through the run's store.

    Args:
        engine: name of the engine plug-in.
        batch_size: prompts a batch; part of what a run fixes, since rounding depends on it.
        chat: whether prompts go through the model's chat template; None: where it has one.
        decoding: how generated answers are drawn.
        max_rows: answers under way at a time where the engine asks variants together; the engine's own bound if None.
        unsafe: run programs that a model wrote without a sandbox, even where one is possible.
    Raises:
        UserError: chat is asked for, and the model has no template.
    """

    def __init__(
        self,
        loaded: Loaded,
        store: Store,
        engine: str = "sweep",
        batch_size: int = 64,
        *,
        chat: bool | None = None,
        decoding: Decoding = GREEDY,
        unsafe: bool = False,
        max_rows: int | None = None,
    ) -> None:
        check_chat(loaded.tokenizer, chat, loaded.ref.path)
        self.loaded, self.store, self.batch_size = loaded, store, batch_size
        self.chat, self.decoding, self.unsafe = chat, decoding, unsafe
        bounds = {} if max_rows is None else {"max_rows": max_rows}
        self.engine: Engine = find("engines", engine)(loaded.model, loaded.tokenizer, **bounds)
        self.positions: int | None = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        self.computed = 0
        self._prompts: dict[tuple[str, str], Prompt] = {}
        self._checked: set[tuple[int, ...]] = {()}

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The sample as this model reads it."""
        key = (task.name, sample.id)
        if key not in self._prompts:
            self._prompts[key] = encode(self.loaded.tokenizer, sample, self.chat)
        return self._prompts[key]

    def draws(self, task: Task) -> int:
        """How many responses every item gets: choices by likelihood and greedy answers have but one."""
        return 1 if task.kind == "choice" or not self.decoding.temperature else self.decoding.samples

    def keys(self, ref: ModelRef, task: Task, samples: Sequence[Sample], draw: int = 0) -> list[Key]:
        """The store's key of each sample's response."""
        name = self.decodings(task)[draw]
        return [response_key(ref, task, sample, self.prompt(task, sample).hash, name) for sample in samples]

    def decodings(self, task: Task) -> list[str]:
        """What the keys of each item's responses say of their decoding, draw by draw."""
        decoding = GREEDY if task.kind == "choice" else self.decoding
        return [decoding.name(draw) for draw in range(self.draws(task))]

    def verdicts(
        self,
        removed: Sequence[int],
        task: Task,
        samples: Sequence[Sample],
        tick: Progress | None = None,
        draws: int | None = None,
    ) -> list[Verdict]:
        """Verdicts in the order of `samples`, of the model without these layers; asks only what is not stored.

        Where several responses of each are drawn, all first ones come first, then all second ones.

        Args:
            tick: called with the number of responses newly there, for a progress bar.
            draws: responses of each sample; `self.draws` if None.
        Raises:
            UserError: removing the layers changes nothing (the canary), or a program cannot be judged safely here.
        """
        ref = self.loaded.ref.without(tuple(removed))
        found: list[Verdict] = []
        for draw in range(self.draws(task) if draws is None else draws):
            found += self._drawn(ref, task, samples, draw, tick)
        return found

    def many(
        self,
        variants: Sequence[Sequence[int]],
        task: Task,
        samples: Sequence[Sample],
        tick: Progress | None = None,
    ) -> list[list[Verdict]]:
        """The verdicts of several variants, [variant][sample]: as `verdicts` of each, asked together where the engine
        can. A batch of prompts is committed for all variants at once.

        Args:
            variants: the layers each lacks.
            task, samples, tick: as for `verdicts`.
        Raises:
            UserError: as `verdicts`.
        """
        self.answer(variants, [(task, samples)], tick)
        # What was answered together is read from the store, and has been told of.
        told = None if self._together(task) else tick
        return [self.verdicts(variant, task, samples, told) for variant in variants]

    def answer(
        self,
        variants: Sequence[Sequence[int]],
        asked: Sequence[tuple[Task, Sequence[Sample]]],
        tick: Progress | None = None,
    ) -> None:
        """Have several variants answer several tasks together, where the engine can; elsewhere nothing is done ahead.

        Args:
            variants: the layers each lacks.
            asked: tasks with their samples.
            tick: called with the number of responses newly there.
        """
        fitting = [(task, samples) for task, samples in asked if self._together(task)]
        if isinstance(self.engine, ManyVariants) and fitting:
            unlike = list(dict.fromkeys(tuple(sorted(variant)) for variant in variants))
            Together(self, self.engine, unlike).answer(fitting, tick)

    def _together(self, task: Task) -> bool:
        drawn = task.kind == "generation" and self.decoding.temperature > 0
        return isinstance(self.engine, ManyVariants) and not drawn

    def _drawn(
        self, ref: ModelRef, task: Task, samples: Sequence[Sample], draw: int, tick: Progress | None
    ) -> list[Verdict]:
        keys = dict(zip((sample.id for sample in samples), self.keys(ref, task, samples, draw), strict=True))
        prompts = [self.prompt(task, sample) for sample in samples]
        wanted = self.wanted(task)
        missing = [
            (tokens, batch)
            for tokens, batch in batches(prompts, self.batch_size, wanted, self.positions)
            if any(self.store.verdict(keys[prompt.sample.id], task.scorer) is None for prompt in batch)
        ]
        outside = [prompt for prompt in prompts if room(prompt, wanted, self.positions) is None]
        if missing or outside:
            self.register(ref, task, samples, prompts)
            self._refuse(task, outside, keys)
        with without_layers(self.loaded.model, ref.removed) if missing else nullcontext():
            for tokens, batch in missing:
                self._commit(task, batch, keys, tokens, draw)
                if tick:
                    tick(len(batch))
        found = [self.store.verdict(keys[sample.id], task.scorer) for sample in samples]
        assert all(found)
        return [verdict for verdict in found if verdict]

    def wanted(self, task: Task) -> int:
        """The tokens an answer may take."""
        if task.kind == "choice":
            return 0
        # One token is one token, whatever is set for answers.
        fixed = task.asked == "one_token" or self.decoding.max_new_tokens is None
        return task.max_new_tokens if fixed else self.decoding.max_new_tokens or 0

    def register(self, ref: ModelRef, task: Task, samples: Sequence[Sample], prompts: Sequence[Prompt]) -> None:
        """Tell the store of a model and of what it is asked; the model must differ from the base (the canary)."""
        if ref.removed not in self._checked:
            self.loaded.check_canary(ref.removed)
            self._checked.add(ref.removed)
        self.store.add_model(ref, {"layers": self.loaded.depth})
        self.store.add_samples(task, samples)
        about = {"protocol": task.asked, "shots": task.shots}
        self.store.add_prompts(
            {prompt.hash: {"text": prompt.text, "template": prompt.template, **about} for prompt in prompts}
        )

    def _refuse(self, task: Task, outside: Sequence[Prompt], keys: dict[str, Key]) -> None:
        """Keep that a prompt does not fit, as an error of its item: it is never cut."""
        fresh = []
        for prompt in outside:
            key = keys[prompt.sample.id]
            if self.store.verdict(key, task.scorer) is None:
                why = f"context too long: {prompt.tokens} tokens, and the model has {self.positions} positions"
                fresh.append((key, _NOT_ASKED, Verdict("error", 0.0, why=why)))
        self.store.add(fresh, task.scorer)

    def _commit(self, task: Task, batch: list[Prompt], keys: dict[str, Key], tokens: int, draw: int) -> None:
        """Ask the whole batch, even where part of it is stored (from a run with other limits): rounding depends on
        the batch. Only what is missing is written; what an older scorer judged is judged again.
        """
        stored = {prompt.sample.id: self.store.response(keys[prompt.sample.id]) for prompt in batch}
        if not all(stored.values()):
            began = time.perf_counter()
            responses = self._ask(task, batch, tokens, draw)
            spent = time.perf_counter() - began
            self.computed += len(batch)
            self.store.add_time(task.name, spent, len(batch), sum(len(response.tokens) for response in responses))
            stored = {
                prompt.sample.id: stored[prompt.sample.id] or response
                for prompt, response in zip(batch, responses, strict=True)
            }
        complete = [response for prompt in batch if (response := stored[prompt.sample.id])]
        self.store.add(self.judged(task, batch, keys, complete), task.scorer)

    def judged(
        self, task: Task, batch: Sequence[Prompt], keys: dict[str, Key], responses: Sequence[Response]
    ) -> list[tuple[Key, Response, Verdict]]:
        """What is not stored yet, with its verdict."""
        fresh = [
            (prompt.sample, response)
            for prompt, response in zip(batch, responses, strict=True)
            if self.store.verdict(keys[prompt.sample.id], task.scorer) is None
        ]
        verdicts = judged(task, fresh, self.unsafe)
        return [
            (keys[sample.id], response, verdict) for (sample, response), verdict in zip(fresh, verdicts, strict=True)
        ]

    def _ask(self, task: Task, batch: list[Prompt], tokens: int, draw: int) -> list[Response]:
        """The engine's responses to one batch. What is drawn depends on the batch and the draw, not on the model."""
        if task.kind == "choice":
            sums = iter(self.engine.loglikelihoods([row for prompt in batch for row in prompt.rows]))
            return [Response("", (), "likelihood", tuple(next(sums)[0] for _ in prompt.rows)) for prompt in batch]
        drawn = [self.decoding.seed, draw, [prompt.hash for prompt in batch]]
        seed = int(content_hash(drawn, 15), 16)
        return self.engine.generate([prompt.ids for prompt in batch], tokens, self.decoding, seed)
