"""Evaluate variants of a model on tasks. Responses are committed as they are finished; stored ones are not computed
again.
"""

from collections.abc import Sequence
from datetime import date
from itertools import chain
from statistics import fmean

from layerlimits.chat import bind, today
from layerlimits.engines import Engine
from layerlimits.evaluation.artifacts import Artifacts, TaskRecord
from layerlimits.evaluation.ledger import Ledger, engine_names
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import Prompt
from layerlimits.evaluation.recording import Progress
from layerlimits.evaluation.store import Store
from layerlimits.evaluation.variants import Asked, VariantBatcher
from layerlimits.models.load import Loaded
from layerlimits.plugins import find
from layerlimits.resources import machine
from layerlimits.types import Response, Sample, Task, Verdict

_DEFAULT = AskOptions()
# Prompts per task whose lengths are measured.
_MEASURED_PROMPTS = 20


class Evaluator:
    """Evaluates variants of one loaded model on tasks, and stores the responses in a run folder.

    Args:
        loaded: the unpruned model; a variant is given by its removed layers.
        store: the store of the run folder.
        options: settings of the evaluation.
        engine: replaces the engine named in the options.
    Raises:
        UserError: chat is set, and the model has no chat template; or the engine is unknown.
    """

    def __init__(
        self, loaded: Loaded, store: Store, options: AskOptions = _DEFAULT, engine: Engine | None = None
    ) -> None:
        self.loaded, self.store, self.options = loaded, store, options
        artifacts = Artifacts(store)
        if not artifacts.clock:
            artifacts.clock = today().isoformat()
        bind(loaded.tokenizer, options.template, date.fromisoformat(artifacts.clock))
        if engine is None:
            rows = _least(options.max_rows, artifacts.row_limits.get(machine()))
            bounds = {} if rows is None else {"max_rows": rows}
            named: Engine = find("engines", options.engine)(loaded.model, loaded.tokenizer, **bounds)
            engine = named
        self._engine = engine
        self._ledger = Ledger(loaded, store, options, engine_names(engine))
        self._batcher = VariantBatcher(self._ledger, engine)

    @property
    def engine(self) -> Engine:
        """The engine that computes the responses."""
        return self._engine

    @property
    def computed(self) -> int:
        """Number of responses that this evaluator computed."""
        return self._ledger.computed

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The prompt of a sample for this model."""
        return self._ledger.prompt(task, sample)

    def draws(self, task: Task) -> int:
        """Number of responses per item: one for a choice by likelihood or a greedy answer."""
        return self._ledger.draws(task)

    def tokens(self, task: Task, samples: Sequence[Sample]) -> float:
        """Estimated number of tokens that a response reads and writes, if an answer has half of its maximum length."""
        prompts = [self.prompt(task, sample) for sample in samples[:_MEASURED_PROMPTS]]
        read = [sum(map(len, chain(*prompt.rows))) or len(prompt.ids) for prompt in prompts]
        return fmean(read or [0]) + self._ledger.limit(task) / 2

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Asked,
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> None:
        """Compute and commit missing responses; small tasks share batches if the engine supports it.

        Args:
            variants: the removed layers of each.
            asked: tasks with their samples.
            on_progress: called with the number of responses just computed; parts of a response count as fractions, and
                the sum is exact.
            draws: responses per sample; `self.draws` if None.
        Raises:
            UserError: removing a variant's layers changes no logit, or a program cannot be run safely on this machine.
        """
        before = getattr(self._engine, "row_limit", None)
        try:
            self._batcher.ask(variants, asked, on_progress, draws)
        finally:
            rows = getattr(self._engine, "row_limit", None)
            if rows is not None and rows != before:
                # Memory ran out: commands that resume start with what fits.
                artifacts = Artifacts(self.store)
                artifacts.row_limits = artifacts.row_limits | {machine(): rows}

    def verdicts(
        self,
        variants: Sequence[Sequence[int]],
        task: Task,
        samples: Sequence[Sample],
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> list[list[Verdict]]:
        """The verdicts of each variant in the order of `samples`, [variant][sample]; computes only missing responses.

        With several draws, the verdicts of the first draw come first, then those of the second, and so on.

        Args:
            variants, on_progress, draws: as for `ask`.
        Raises:
            UserError: see `ask`.
        """
        self.ask(variants, [(task, samples)], on_progress, draws)
        every_draw = range(self.draws(task) if draws is None else draws)
        keys = [
            [key for draw in every_draw for key in self._ledger.keys(tuple(sorted(variant)), task, samples, draw)]
            for variant in variants
        ]
        stored = self.store.verdicts([key for row in keys for key in row], task.scorer)
        return [[stored[key] for key in row] for row in keys]

    def missing(self, variants: Sequence[Sequence[int]], task: Task, samples: Sequence[Sample]) -> int:
        """Number of responses of the variants that are not stored."""
        keys = [
            key
            for variant in variants
            for draw in range(self.draws(task))
            for key in self._ledger.keys(tuple(sorted(variant)), task, samples, draw)
        ]
        return len(self.store.missing(keys))

    def responses(self, removed: Sequence[int], task: Task, samples: Sequence[Sample], draw: int = 0) -> list[Response]:
        """The stored responses of the model without these layers, in the order of `samples`.

        Raises:
            KeyError: a response is not stored; call `ask` first.
        """
        keys = self._ledger.keys(tuple(sorted(removed)), task, samples, draw)
        stored = self.store.responses(keys)
        return [stored[key] for key in keys]

    def missing_of(self, model: str, task: Task, samples: Sequence[Sample]) -> int:
        """Number of responses of another model to the same prompts that are not stored. The model is not needed:
        stored responses whose verdict is of another version of the scorer are scored again.

        Args:
            model: fingerprint of the model.
            task, samples: as for `verdicts`.
        Raises:
            UserError: a program cannot be run safely on this machine.
        """
        sample_of = {
            key._replace(model=model): sample
            for draw in range(self.draws(task))
            for key, sample in zip(self._ledger.keys((), task, samples, draw), samples, strict=True)
        }
        return len(self._ledger.missing(task, sample_of))

    def described(self, task: Task, samples: Sequence[Sample]) -> TaskRecord:
        """The record of a task in results: the task, its prompt settings, its items with the hashes of their prompts,
        and the engine class. It selects the responses to exactly these prompts.
        """
        record: TaskRecord = {
            "name": task.name,
            "version": task.version,
            "kind": task.kind,
            "metric": task.metric,
            "chance": task.chance,
            "summary": task.summary,
            "protocol": task.asked,
            "shots": task.shots,
            "template": self.prompt(task, samples[0]).template if samples else None,
            "decodings": self._ledger.decodings(task),
            "engine": self._ledger.engine(task),
            "sets": {sample.id: sample.meta["set"] for sample in samples if "set" in sample.meta},
            "ids": [sample.id for sample in samples],
            "prompts": {sample.id: self.prompt(task, sample).hash for sample in samples},
        }
        if task.kind == "text" and samples and samples[0].window:
            record["window"] = [samples[0].window.length, samples[0].window.stride]
            record["documents"] = {sample.id: self._size(task, sample) for sample in samples}
        return record

    def _size(self, task: Task, sample: Sample) -> list[int]:
        """Tokens that are predicted, words and bytes of a document."""
        tokens = sum(len(continuation) for _, continuation in self.prompt(task, sample).rows)
        return [tokens, len(sample.prompt.split()), len(sample.prompt.encode("utf-8", "surrogatepass"))]


def _least(*limits: int | None) -> int | None:
    """The smallest of the limits that are set."""
    return min((limit for limit in limits if limit is not None), default=None)
