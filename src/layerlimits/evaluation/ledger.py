"""What a run knows of a model's answers: prompts, keys, limits, what is missing, what was computed and its verdicts."""

from collections.abc import Collection, Mapping, Sequence

from layerlimits.engines import Engine
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import Prompt, check_chat, encode, room
from layerlimits.evaluation.store import Key, Store
from layerlimits.models.load import Loaded
from layerlimits.tasks import judged
from layerlimits.types import GREEDY, Decoding, Kind, Response, Sample, Task, Variant, Verdict

# What stands for a response where the prompt leaves no room for one.
_NOT_ASKED = Response("", (), "context")


def engine_names(engine: Engine) -> dict[Kind, str]:
    """The class whose code computes an engine's answers, by kind of task: a subclass may inherit one of its methods."""
    inherited: Mapping[Kind, str] = getattr(engine, "computed_by", {})
    own = type(engine).__name__
    return {"generation": inherited.get("generation", own), "choice": inherited.get("choice", own)}


class Ledger:
    """The answers of one loaded model and its variants in a run's store.

    Args:
        loaded: the unpruned model.
        options: how it is asked.
        engines: by kind of task, the engine class that a key names.
    Raises:
        UserError: chat is asked for, and the model has no template.
    """

    def __init__(self, loaded: Loaded, store: Store, options: AskOptions, engines: Mapping[Kind, str]) -> None:
        check_chat(loaded.tokenizer, options.chat, loaded.ref.path)
        self.loaded, self.store, self.options, self.engines = loaded, store, options, engines
        self.positions: int | None = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
        # Responses computed by this process.
        self.computed = 0
        self._prompts: dict[tuple[str, str], Prompt] = {}
        self._fingerprints: dict[Variant, str] = {}
        self._checked: set[Variant] = {()}

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The sample as this model reads it."""
        key = (task.name, sample.id)
        if key not in self._prompts:
            chat = self.options.chat if task.chat is None else task.chat
            self._prompts[key] = encode(self.loaded.tokenizer, sample, chat)
        return self._prompts[key]

    def decoding(self, task: Task) -> Decoding:
        """How the task's answers are decoded; a choice by likelihood is not."""
        return GREEDY if task.kind == "choice" else self.options.decoding

    def draws(self, task: Task) -> int:
        """How many responses every item gets: choices by likelihood and greedy answers have but one."""
        decoding = self.decoding(task)
        return decoding.samples if decoding.temperature else 1

    def decodings(self, task: Task) -> list[str]:
        """What the keys of each item's responses say of their decoding, draw by draw."""
        decoding = self.decoding(task)
        return [decoding.name(draw) for draw in range(self.draws(task))]

    def limit(self, task: Task) -> int:
        """The tokens an answer may take."""
        if task.kind == "choice":
            return 0
        # One token is one token, whatever is set for answers.
        fixed = task.asked == "one_token" or self.options.decoding.max_new_tokens is None
        return task.max_new_tokens if fixed else self.options.decoding.max_new_tokens or 0

    def keys(self, variant: Variant, task: Task, samples: Sequence[Sample], draw: int = 0) -> list[Key]:
        """The store's key of each sample's response, of the model without the variant's layers."""
        if variant not in self._fingerprints:
            self._fingerprints[variant] = self.loaded.ref.without(variant).fingerprint
        model, engine = self._fingerprints[variant], self.engines[task.kind]
        decoding = self.decodings(task)[draw]
        return [
            Key(model, task.name, task.version, sample.id, self.prompt(task, sample).hash, decoding, engine)
            for sample in samples
        ]

    def register(self, variants: Sequence[Variant], task: Task, samples: Sequence[Sample]) -> None:
        """Record the models that are asked, and what they are asked.

        Raises:
            UserError: removing a variant's layers changes nothing (the canary).
        """
        for variant in variants:
            if variant not in self._checked:
                self.loaded.check_canary(variant)
                self._checked.add(variant)
        self.store.add_models([self.loaded.ref.without(variant) for variant in variants], {"layers": self.loaded.depth})
        self.store.add_samples(task, samples)
        about = {"protocol": task.asked, "shots": task.shots}
        prompts = [self.prompt(task, sample) for sample in samples]
        self.store.add_prompts(
            {prompt.hash: {"text": prompt.text, "template": prompt.template, **about} for prompt in prompts}
        )

    def add_computed(
        self, task: Task, answered: Sequence[tuple[Key, Sample, Response]], missing: Collection[Key]
    ) -> None:
        """Commit a batch's computed responses that were missing, with their verdicts, in one transaction.

        Raises:
            UserError: a program cannot be judged safely here.
        """
        self.computed += len(answered)
        # An item that a task has twice is stored once.
        fresh = {key: (key, sample, response) for key, sample, response in reversed(answered) if key in missing}
        self._add(task, list(reversed(fresh.values())))

    def refuse(self, task: Task, missing: Mapping[Key, Sample]) -> None:
        """Commit an error for each missing response whose prompt does not fit: a prompt is never cut."""
        outside = [(key, sample, _NOT_ASKED) for key, sample in missing.items() if not self._fits(task, sample)]
        if outside:
            self._add(task, outside)

    def judge_again(self, task: Task, keys: Mapping[Key, Sample]) -> None:
        """Judge the stored responses of `keys` anew: their verdicts are an older scorer's.

        Raises:
            UserError: a program cannot be judged safely here.
        """
        responses = self.store.responses(list(keys))
        stored = [(key, keys[key], responses[key]) for key in keys if key in responses]
        for start in range(0, len(stored), self.options.batch_size):
            self._add(task, stored[start : start + self.options.batch_size])

    def _add(self, task: Task, answered: Sequence[tuple[Key, Sample, Response]]) -> None:
        asked = [(sample, response) for _, sample, response in answered if response.finish != "context"]
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
