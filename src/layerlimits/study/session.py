"""A run folder with a loaded model, on which every stage of a study works."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load, parameter_count, weight_bytes
from layerlimits.progress import Bar
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import Cost, Shape, cost_of
from layerlimits.study.manifest import claim
from layerlimits.study.resolved import ResolvedStudy
from layerlimits.study.resuming import recorded_settings
from layerlimits.types import Task


@dataclass
class Run:
    """State of a running study; everything that must survive an interruption is in `store`."""

    study: ResolvedStudy
    folder: Path
    store: Store
    evaluator: Evaluator
    cost: Cost
    bar: Bar

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

    def ask(self, variants: Sequence[Sequence[int]], task: Task, evaluator: Evaluator | None = None) -> None:
        """Evaluate variants on a task's evaluation items and advance the progress bar.

        Args:
            variants: Removed layers of each variant, equally many.
            task: The task.
            evaluator: Evaluator of another model than the unpruned one.
        """
        evaluator = evaluator or self.evaluator
        samples = self.study.items[task.name]
        each = self.cost.response(task, evaluator.loaded.depth - len(variants[0]), len(samples))
        done = 0

        def on_progress(count: int) -> None:
            nonlocal done
            done += count
            self.bar.advance(count * each)

        evaluator.ask(variants, [(task, samples)], on_progress)
        self.bar.advance((len(variants) * len(samples) * evaluator.draws(task) - done) * each)

    def skip(self, what: str, why: str) -> None:
        """Record that a part of the study was skipped; the results contain a warning."""
        self.artifacts.skipped = self.artifacts.skipped | {what: why}

    def add_stage_time(self, stage: str, seconds: float) -> None:
        """Add to the recorded duration of a stage, which accumulates over resumed runs."""
        spent = self.artifacts.stages
        self.artifacts.stages = spent | {stage: spent.get(stage, 0.0) + seconds}

    def like(self, loaded: Loaded) -> Evaluator:
        """An evaluator for another model with the same options."""
        return _evaluator(self.config, loaded, self.store)


def _evaluator(config: StudyConfig, loaded: Loaded, store: Store) -> Evaluator:
    options = AskOptions(
        batch_size=config.batch_size,
        max_rows=config.max_rows,
        chat=config.chat,
        decoding=config.decoding,
        unsafe=config.unsafe_code,
    )
    return Evaluator(loaded, store, options)


def open_run(study: ResolvedStudy, out: Path, command: str) -> Run:
    """Load the model and open a new or existing run folder. Stored results stay; the study's description is replaced.

    Raises:
        UserError: The folder belongs to another model.
    """
    config = study.config
    loaded = load(config.model, revision=config.revision, dtype=config.dtype, device=config.device)
    store = Store(out)
    evaluator = _evaluator(config, loaded, store)
    claim(store, loaded, config.batch_size, command=command, **recorded_settings(study))
    _describe(evaluator, study)
    cost = cost_of(study, Shape(loaded.depth, parameter_count(loaded.model)))
    return Run(study, out, store, evaluator, cost, Bar(0.0))


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
    artifacts.tasks = [evaluator.described(task, study.items[task.name]) for task in study.tasks]
    artifacts.study_notes = list(study.notes)
    # Parts skipped by an earlier run are tried again.
    artifacts.skipped = {}
