"""A run folder with a loaded model, on which every stage of a study works."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, parameter_count, weight_bytes
from layerlimits.progress import Bar
from layerlimits.study.budget import Clock, probe_seconds, steady
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import Cost, cost_of, stage_costs
from layerlimits.study.fitting import FIRST_ITEMS
from layerlimits.study.manifest import claim, load_into
from layerlimits.study.probe import rates_of
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.study.resuming import recorded_settings
from layerlimits.study.screening import SCREENED_ITEMS
from layerlimits.types import Sample, Task, Variant

# Within a budget, items of a task that all variants answer before the time is checked again.
_CHUNK = 48
# Fewer further items are not worth a batch.
_MIN_CHUNK = 4
# Seconds between records of the time spent.
_RECORD_EVERY_S = 10.0


@dataclass
class Run:
    """State of a running study; everything that must survive an interruption is in `store`."""

    study: ResolvedStudy
    folder: Path
    store: Store
    evaluator: Evaluator
    cost: Cost
    bar: Bar
    # The methods that rank; fewer than in the settings if some cannot decide.
    methods: tuple[str, ...]
    clock: Clock | None = None
    # What the diagnostics ask every model, from the stage `diagnose` on.
    probes: tuple[tuple[Task, Sequence[Sample]], ...] = ()
    # What pruned models have lost and are asked again, in another way.
    again: tuple[tuple[Task, Sequence[Sample]], ...] = ()
    _recorded: float = field(default=0.0)

    @property
    def config(self) -> StudyConfig:
        """The study's settings."""
        return self.study.config

    @property
    def loaded(self) -> Loaded:
        """The unpruned model."""
        return self.evaluator.loaded

    @property
    def artifacts(self) -> Artifacts:
        """What the run folder stores besides responses."""
        return Artifacts(self.store)

    def ask(
        self,
        stage: str,
        variants: Sequence[Variant],
        task: Task,
        samples: Sequence[Sample],
        evaluator: Evaluator | None = None,
    ) -> None:
        """Evaluate variants on items of a task, advance the progress bar, and correct the estimates.

        Args:
            stage: The stage.
            variants: Removed layers of each variant, equally many.
            task: The task.
            samples: The items.
            evaluator: Evaluator of another model than the unpruned one.
        """
        evaluator = evaluator or self.evaluator
        kept_layers = evaluator.loaded.depth - len(variants[0])
        each = self.cost.response(task, kept_layers, stage)
        done, began = 0.0, time.perf_counter()

        def on_progress(count: float) -> None:
            nonlocal done
            done += count
            self.bar.advance(count * each)
            self.record_time()

        missing = evaluator.missing(variants, task, samples)
        self.bar.skip((len(variants) * len(samples) * evaluator.draws(task) - missing) * each)
        evaluator.ask(variants, [(task, samples)], on_progress)
        if done:
            self.cost.learn(task, kept_layers, stage, (time.perf_counter() - began) / done)
        # Prompts that do not fit were missing, and are not computed.
        self.bar.skip((missing - done) * each)

    def measure(self, stage: str, groups: Sequence[Sequence[Variant]], task: Task) -> None:
        """Evaluate groups of variants with equally many removed layers on all items of a task."""
        for variants in groups:
            self.ask(stage, variants, task, self.study.items[task.name])

    def measure_within(
        self, stage: str, groups: Sequence[Sequence[Variant]], task: Task, seconds: float, most: int | None = None
    ) -> None:
        """Evaluate groups of variants, and the unpruned model, on the first items of a task, as many as fit.

        Args:
            stage: The stage.
            groups: Groups of variants with equally many removed layers.
            task: The task.
            seconds: Time that may be used.
            most: Largest number of items; all if None.
        """
        items = self.study.items[task.name][:most]
        deadline, done = time.perf_counter() + seconds, 0
        while done < len(items):
            stop = self._next_stop(stage, groups, task, done, len(items), deadline)
            if stop == done:
                break
            self.ask("base", [()], task, items[done:stop])
            for variants in groups:
                self.ask(stage, variants, task, items[done:stop])
            done = stop
        self.record_count(stage, task, done)

    def _next_stop(
        self, stage: str, groups: Sequence[Sequence[Variant]], task: Task, done: int, most: int, deadline: float
    ) -> int:
        """The number of items, at most `most`, up to which all variants can answer before the deadline."""
        variants = [variant for group in groups for variant in group]
        stored = done
        while stored < most and not self.missing(task, variants, stored + _MIN_CHUNK, stored):
            stored = min(most, stored + _MIN_CHUNK)
        if stored > done:
            return stored
        each = sum(
            len(group) * self.cost.response(task, self.study.depth - len(group[0]), stage) for group in groups
        ) + self.cost.response(task, self.study.depth)
        affordable = int((deadline - time.perf_counter()) / (each * self.evaluator.draws(task)))
        least, chunk = (_MIN_CHUNK, _CHUNK) if done else (FIRST_ITEMS, FIRST_ITEMS)
        return done + min(affordable, chunk, most - done) if affordable >= min(least, most - done) else done

    def missing(self, task: Task, variants: Sequence[Variant], stop: int, start: int = 0) -> int:
        """Number of responses to the items from `start` up to `stop` that are not stored."""
        return self.evaluator.missing(variants, task, self.study.items[task.name][start:stop])

    def record_count(self, stage: str, task: Task, count: int) -> None:
        """Record how many items of a task a stage has measured, and how the task is asked."""
        counts = self.counts(task)
        counts[stage] = count
        counts["base"] = max(counts.values())
        self._describe(task, counts)

    def set_aside(self, task: Task, reason: str, count: int) -> None:
        """Record that a task is measured no further than its first `count` items."""
        self._describe(task, {"base": count, "sweep": 0, "prune": 0}, reason)

    def pruned_items(self, task: Task) -> list[Sample]:
        """The items on which pruned models are evaluated."""
        items = self.study.items[task.name]
        return items[: self.counts(task).get("prune", len(items))]

    def base_items(self, task: Task) -> int:
        """Number of items that the unpruned model answers first: all, or those that decide whether a task goes on."""
        if self.clock and self.clock.left <= 0:
            return self.counts(task).get("base", 0)
        return SCREENED_ITEMS if self.study.screened or self.clock else len(self.study.items[task.name])

    def counts(self, task: Task) -> dict[str, int]:
        """The number of items of a task that each stage has measured, if it has measured only the first items."""
        records = {record["name"]: record for record in self.artifacts.tasks or []}
        return dict(records[task.name].get("counts", {})) if task.name in records else {}

    def _describe(self, task: Task, counts: dict[str, int], reason: str = "") -> None:
        record = self.evaluator.described(task, self.study.items[task.name][: counts["base"]])
        record["counts"] = counts
        if reason:
            record["set_aside"] = reason
        records = {record["name"]: record for record in self.artifacts.tasks or []} | {task.name: record}
        order = [member.name for member in self.study.tasks]
        self.artifacts.tasks = [records[name] for name in order if name in records]

    def coming(self, stage: str) -> tuple[str, ...]:
        """The stages after a stage that this study has."""
        stages = ("base", "sweep", "rank", "prune", "diagnose", "recover", "speed")
        after = stages[stages.index(stage) + 1 :]
        return tuple(name for name in after if name != "recover" or self.study.recovery)

    def share(self, stage: str) -> float | None:
        """Seconds that a stage may use, if it starts now; None without a budget."""
        return self.clock.share(stage, self.coming(stage)) if self.clock else None

    def plan_bar(self, stage: str) -> None:
        """Replace the bar's estimate of the work after a stage."""
        costs = stage_costs(self.study, self.cost)
        remaining = self.clock.left if self.clock else sum(costs[name] for name in self.coming(stage))
        self.bar.plan(max(0.0, remaining))

    def skip(self, what: str, why: str) -> None:
        """Record that a part of the study was skipped; the results contain a warning."""
        self.artifacts.skipped = self.artifacts.skipped | {what: why}

    def leave_out(self, sentences: Sequence[str]) -> None:
        """Record what a budget leaves out; the results contain a warning."""
        self.artifacts.left_out = [*self.artifacts.left_out, *sentences]

    def add_stage_time(self, stage: str, seconds: float) -> None:
        """Add to the recorded duration of a stage, which accumulates over resumed runs."""
        spent = self.artifacts.stages
        self.artifacts.stages = spent | {stage: spent.get(stage, 0.0) + seconds}
        self.record_time(now=True)
        self.store.checkpoint()

    def record_time(self, *, now: bool = False) -> None:
        """Record the time that a budget has been charged, so that a resumed run spends what is left."""
        if self.clock and (now or time.monotonic() - self._recorded > _RECORD_EVERY_S):
            self._recorded = time.monotonic()
            self.artifacts.spent = self.clock.spent

    def like(self, loaded: Loaded) -> Evaluator:
        """An evaluator for another model with the same options."""
        return Evaluator(loaded, self.store, ask_options(self.config))


def ask_options(config: StudyConfig) -> AskOptions:
    """How a study asks its models."""
    return AskOptions(
        batch_size=config.batch_size,
        max_rows=config.max_rows,
        chat=config.chat,
        decoding=config.decoding,
        unsafe=config.unsafe_code,
    )


def open_run(study: ResolvedStudy, out: Path, command: str, began: float) -> Run:
    """Load the model and open a new or existing run folder. Stored results stay; the study's description is replaced.

    Args:
        study: The study.
        out: The run folder.
        command: The command line, for the report.
        began: Time at which the command started, in seconds since the epoch.
    Raises:
        UserError: The folder belongs to another model.
    """
    config = study.config
    loaded = load_into(out, config.model, revision=config.revision, dtype=config.dtype, device=config.device)
    store = Store(out)
    evaluator = Evaluator(loaded, store, ask_options(config))
    claim(store, loaded, config.batch_size, command=command, **recorded_settings(study))
    _describe(evaluator, study)
    cost = cost_of(study, rates_of(study, evaluator, probe_seconds(config.budget)))
    clock = None if config.budget is None else Clock(config.budget, Artifacts(store).spent, steady(began))
    return Run(study, out, store, evaluator, cost, Bar(0.0), config.methods, clock)


def _describe(evaluator: Evaluator, study: ResolvedStudy) -> None:
    """Store the description of the model and the tasks that the report needs."""
    loaded, artifacts = evaluator.loaded, Artifacts(evaluator.store)
    artifacts.base = {
        "name": study.config.model,
        "fingerprint": loaded.ref.base_fingerprint,
        "layers": loaded.depth,
        "parameters": parameter_count(loaded.model),
        "weight_bytes": weight_bytes(loaded.model),
        "dtype": loaded.ref.dtype,
        "device": str(loaded.model.device),
    }
    artifacts.calibration = {"source": study.calibration.source, "hashes": list(study.calibration.hashes)}
    if study.config.budget is None:
        artifacts.tasks = [evaluator.described(task, study.items[task.name]) for task in study.tasks]
    artifacts.study_notes = list(study.notes)
    # Parts skipped or left out by an earlier run are tried again.
    artifacts.skipped, artifacts.left_out = {}, []
