"""Asking a model a task's items: batches fixed in advance, each committed whole, finished ones never repeated."""

from collections.abc import Sequence

from layerlimits.engines import Engine
from layerlimits.evaluation.artifacts import TaskRecord
from layerlimits.evaluation.ledger import Ledger, engine_names
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import Prompt
from layerlimits.evaluation.store import Store
from layerlimits.evaluation.variants import Asked, Progress, VariantBatcher
from layerlimits.models.load import Loaded
from layerlimits.plugins import find
from layerlimits.types import Response, Sample, Task, Verdict

_DEFAULT = AskOptions()


class Evaluator:
    """Answers tasks with variants of one loaded model, through the run's store.

    Args:
        loaded: the unpruned model; a variant is the layers it lacks.
        store: of the run folder.
        options: how the model is asked.
        engine: used instead of the one that the options name.
    Raises:
        UserError: chat is asked for, and the model has no template; or an unknown engine.
    """

    def __init__(
        self, loaded: Loaded, store: Store, options: AskOptions = _DEFAULT, engine: Engine | None = None
    ) -> None:
        self.loaded, self.store, self.options = loaded, store, options
        if engine is None:
            bounds = {} if options.max_rows is None else {"max_rows": options.max_rows}
            made: Engine = find("engines", options.engine)(loaded.model, loaded.tokenizer, **bounds)
            engine = made
        self._engine = engine
        self._ledger = Ledger(loaded, store, options, engine_names(engine))
        self._batcher = VariantBatcher(self._ledger, engine)

    @property
    def engine(self) -> Engine:
        """What computes the responses."""
        return self._engine

    @property
    def computed(self) -> int:
        """How many responses this evaluator computed."""
        return self._ledger.computed

    def prompt(self, task: Task, sample: Sample) -> Prompt:
        """The sample as this model reads it."""
        return self._ledger.prompt(task, sample)

    def draws(self, task: Task) -> int:
        """How many responses every item gets: choices by likelihood and greedy answers have but one."""
        return self._ledger.draws(task)

    def ask(
        self,
        variants: Sequence[Sequence[int]],
        asked: Asked,
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> None:
        """Compute and commit what variants have not answered yet; small tasks share batches where the engine can.

        Args:
            variants: the layers each lacks.
            asked: tasks with their samples.
            on_progress: called with the number of responses just committed.
            draws: responses of each sample; `self.draws` if None.
        Raises:
            UserError: removing the layers changes nothing (the canary), or a program cannot be judged safely here.
        """
        self._batcher.ask(variants, asked, on_progress, draws)

    def verdicts(
        self,
        variants: Sequence[Sequence[int]],
        task: Task,
        samples: Sequence[Sample],
        on_progress: Progress | None = None,
        draws: int | None = None,
    ) -> list[list[Verdict]]:
        """The verdicts of each variant in the order of `samples`, [variant][sample]; asks only what is not stored.

        Where several responses of each are drawn, all first ones come first, then all second ones.

        Args:
            variants, on_progress, draws: as for `ask`.
        Raises:
            UserError: as `ask`.
        """
        self.ask(variants, [(task, samples)], on_progress, draws)
        every_draw = range(self.draws(task) if draws is None else draws)
        keys = [
            [key for draw in every_draw for key in self._ledger.keys(tuple(sorted(variant)), task, samples, draw)]
            for variant in variants
        ]
        stored = self.store.verdicts([key for row in keys for key in row], task.scorer)
        return [[stored[key] for key in row] for row in keys]

    def responses(self, removed: Sequence[int], task: Task, samples: Sequence[Sample], draw: int = 0) -> list[Response]:
        """The stored responses of the model without these layers, in the order of `samples`.

        Raises:
            KeyError: one is not stored: `ask` first.
        """
        keys = self._ledger.keys(tuple(sorted(removed)), task, samples, draw)
        stored = self.store.responses(keys)
        return [stored[key] for key in keys]

    def described(self, task: Task, samples: Sequence[Sample]) -> TaskRecord:
        """A task as results name it: what it is, how it is asked, the items with the hashes of their prompts, and the
        engine class that computes its responses. With these, results read the answers to exactly what was asked.
        """
        return {
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
            "engine": self._ledger.engines[task.kind],
            "sets": {sample.id: sample.meta["set"] for sample in samples if "set" in sample.meta},
            "ids": [sample.id for sample in samples],
            "prompts": {sample.id: self.prompt(task, sample).hash for sample in samples},
        }
