"""Bookkeeping of a model's responses in a run: prompts, keys, token limits, missing responses and verdicts."""

from collections.abc import Mapping, Sequence

from layerlimits.engines import Engine
from layerlimits.errors import UserError
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import Prompt, check_chat, encode, room
from layerlimits.evaluation.store import Key, Store
from layerlimits.evaluation.thinking import THINKING_TOKENS, thinks, token_limit, with_opened_thought
from layerlimits.models.load import Loaded
from layerlimits.models.vocabulary import check_tokens
from layerlimits.tasks import judged
from layerlimits.types import GREEDY, Decoding, Kind, Response, Sample, Task, Variant, Verdict

# Stored instead of a response if the prompt leaves no room for one.
_NOT_ASKED = Response("", (), "context")


def engine_names(engine: Engine) -> dict[Kind, str]:
    """The name of the class whose code computes an engine's answers, by kind of task (see `Engine.computed_by`)."""
    inherited: Mapping[Kind, str] = getattr(engine, "computed_by", {})
    own = type(engine).__name__
    return {"generation": inherited.get("generation", own), "choice": inherited.get("choice", own)}


class Ledger:
    """The responses of one loaded model and its variants in the store of a run.

    Args:
        loaded: the unpruned model.
        store: the store of the run folder.
        options: settings of the evaluation.
        engines: the engine class in the keys, by kind of task.
    Raises:
        UserError: see `check_chat`.
    """

    def __init__(self, loaded: Loaded, store: Store, options: AskOptions, engines: Mapping[Kind, str]) -> None:
        check_chat(loaded.tokenizer, options.chat, loaded.ref.path, options.template)
        self.loaded, self.store, self.options, self.engines = loaded, store, options, engines
        self.positions: int | None = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        # Responses computed by this process.
        self.computed = 0
        self._prompts: dict[tuple[str, str], Prompt] = {}
        self._fingerprints: dict[Variant, str] = {}
        self._checked: set[Variant] = {()}
        self._recorded: set[tuple[str, str]] = set()
        self._thinks: dict[bool | None, bool] = {}

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The prompt of a sample for this model.

        Raises:
            UserError: the model has no embedding for a token, or fewer positions than a document's window.
        """
        key = (task.name, sample.id)
        if key not in self._prompts:
            chat = self.options.chat if task.chat is None else task.chat
            prompt = encode(self.loaded.tokenizer, sample, chat)
            check_tokens(self.loaded.model, [prompt.ids, *(ids for row in prompt.rows for ids in row)])
            self._check_window(task, sample, prompt)
            self._prompts[key] = prompt
        return self._prompts[key]

    def _check_window(self, task: Task, sample: Sample, prompt: Prompt) -> None:
        if sample.window and self.positions is not None and prompt.tokens > self.positions:
            length, options = sample.window.length, f":window={self.positions}:stride={max(1, self.positions // 2)}"
            raise UserError(
                f"{task.name} reads {length} tokens at a time; the model has {self.positions} positions",
                f"set {options} in the name of the task (--tasks), as in wikitext2{options}",
            )

    def decoding(self, task: Task) -> Decoding:
        """How the answers of a task are decoded; irrelevant for a choice by likelihood."""
        return self.options.decoding if task.generates else GREEDY

    def draws(self, task: Task) -> int:
        """Number of responses per item: one for a choice by likelihood or a greedy answer."""
        decoding = self.decoding(task)
        return decoding.samples if decoding.temperature else 1

    def decodings(self, task: Task) -> list[str]:
        """The decoding in the keys of responses, one entry per draw."""
        decoding, suffix = self.decoding(task), ""
        if self.thinks(task):
            raised = self.limit(task) > task.max_new_tokens and decoding.max_new_tokens is None
            suffix = f" thinking={THINKING_TOKENS}" if raised else " thinking"
        return [decoding.name(draw) + suffix for draw in range(self.draws(task))]

    def engine(self, task: Task) -> str:
        """The engine class in the keys of responses to a task."""
        return self.engines["generation" if task.generates else "choice"]

    def limit(self, task: Task) -> int:
        """Maximum number of tokens of an answer."""
        return token_limit(task, self.options.decoding.max_new_tokens, thinking=self.thinks(task))

    def thinks(self, task: Task) -> bool:
        """Whether the model reasons before it answers the items of a task."""
        if not task.generates:
            return False
        chat = self.options.chat if task.chat is None else task.chat
        if chat not in self._thinks:
            self._thinks[chat] = thinks(self.loaded.tokenizer, chat)
        return self._thinks[chat]

    def keys(self, variant: Variant, task: Task, samples: Sequence[Sample], draw: int = 0) -> list[Key]:
        """The keys of the responses of a variant, one per sample."""
        if variant not in self._fingerprints:
            self._fingerprints[variant] = self.loaded.ref.without(variant).fingerprint
        model, engine = self._fingerprints[variant], self.engine(task)
        decoding = self.decodings(task)[draw]
        return [
            Key(model, task.name, task.version, sample.id, self.prompt(task, sample).hash, decoding, engine)
            for sample in samples
        ]

    def register(self, variants: Sequence[Variant]) -> None:
        """Store the models, after a check that each variant differs from the base.

        Raises:
            UserError: removing a variant's layers changes no logit.
        """
        for variant in variants:
            if variant not in self._checked:
                self.loaded.check_removal_changes_logits(variant)
                self._checked.add(variant)
        self.store.add_models([self.loaded.ref.without(variant) for variant in variants], {"layers": self.loaded.depth})

    def record(self, task: Task, samples: Sequence[Sample]) -> None:
        """Store the texts of the samples and prompts, once per process. An imported run has responses without them."""
        fresh = [sample for sample in samples if (task.name, sample.id) not in self._recorded]
        if not fresh:
            return
        self.store.add_samples(task, fresh)
        about = {"protocol": task.asked, "shots": task.shots}
        prompts = [self.prompt(task, sample) for sample in fresh]
        self.store.add_prompts(
            {prompt.hash: {"text": prompt.text, "template": prompt.template, **about} for prompt in prompts}
        )
        self._recorded.update((task.name, sample.id) for sample in fresh)

    def missing(self, task: Task, sample_of: Mapping[Key, Sample]) -> dict[Key, Sample]:
        """The keys without a stored response. Responses whose verdict is of another version of the scorer are scored.

        Raises:
            UserError: a program cannot be run safely on this machine.
        """
        unjudged = self.store.missing(list(sample_of), task.scorer)
        missing = {key: sample_of[key] for key in self.store.missing(unjudged)}
        self._judge_again(task, {key: sample_of[key] for key in unjudged if key not in missing})
        return missing

    def add_computed(self, task: Task, answered: Sequence[tuple[Key, Sample, Response]]) -> None:
        """Commit computed responses with their verdicts in one transaction.

        Raises:
            UserError: a program cannot be run safely on this machine.
        """
        self.computed += len(answered)
        self._add(task, answered)

    def refuse(self, task: Task, missing: Mapping[Key, Sample]) -> None:
        """Commit an error for each missing response whose prompt does not fit. Prompts are never truncated."""
        outside = [(key, sample, _NOT_ASKED) for key, sample in missing.items() if not self._fits(task, sample)]
        if outside:
            self._add(task, outside)

    def _judge_again(self, task: Task, keys: Mapping[Key, Sample]) -> None:
        """Score the stored responses of `keys` again."""
        responses = self.store.responses(list(keys))
        stored = [(key, keys[key], responses[key]) for key in keys if key in responses]
        for start in range(0, len(stored), self.options.batch_size):
            self._add(task, stored[start : start + self.options.batch_size])

    def _add(self, task: Task, answered: Sequence[tuple[Key, Sample, Response]]) -> None:
        asked = [
            (sample, with_opened_thought(self.prompt(task, sample), response))
            for _, sample, response in answered
            if response.finish != "context"
        ]
        verdicts = iter(judged(task, asked, self.options.unsafe) if asked else [])
        self.store.add(
            [
                (key, response, self._refusal(task, sample) if response.finish == "context" else next(verdicts))
                for key, sample, response in answered
            ],
            task.scorer,
        )

    def _fits(self, task: Task, sample: Sample) -> bool:
        return room(self.prompt(task, sample), self.limit(task), self.positions) is not None

    def _refusal(self, task: Task, sample: Sample) -> Verdict:
        tokens = self.prompt(task, sample).tokens
        why = f"context too long: {tokens} tokens, and the model has {self.positions} positions"
        return Verdict("error", 0.0, why=why)
