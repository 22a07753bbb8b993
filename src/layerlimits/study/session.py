"""A run folder with a loaded model: what every stage of a study works on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import cast

from transformers import PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.calibration import Calibration, calibration, written_texts
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.leaks import check_leaks
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load, parameter_count, weight_bytes
from layerlimits.paths import check_writable, holds_run
from layerlimits.progress import Bar
from layerlimits.recovery.data import training_prompts
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import Cost, Shape
from layerlimits.types import Sample, Task, Verdict
from layerlimits.version import __version__

# What all answers of a run have in common, for them to be compared; and its name in the manifest.
_FIXED = {
    "model": "base_fingerprint",
    "dtype": "dtype",
    "batch size": "batch_size",
    "chat setting": "chat",
    "decoding": "decoding",
}


@dataclass
class Run:
    """A study's state: everything that must survive is in `store`."""

    config: StudyConfig
    folder: Path
    store: Store
    loaded: Loaded
    evaluator: Evaluator
    tasks: list[Task]
    items: dict[str, list[Sample]]
    calibration: Calibration
    cost: Cost
    bar: Bar

    def verdicts(self, removed: Sequence[int], task: Task, evaluator: Evaluator | None = None) -> list[Verdict]:
        """Verdicts on the task's evaluation items, of the base model without these layers or of another model."""
        who = evaluator or self.evaluator
        samples = self.items[task.name]
        each = self.cost.response(task, who.loaded.depth - len(removed), len(samples))
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.bar.advance(count * each)

        (found,) = who.verdicts([removed], task, samples, tick)
        self.bar.advance((len(samples) * who.draws(task) - done) * each)
        return found

    def many(self, variants: Sequence[Sequence[int]], task: Task) -> None:
        """Ask the base model without each of these sets of layers the task's evaluation items, all together."""
        samples = self.items[task.name]
        kept = self.evaluator.loaded.depth - len(variants[0])
        each = self.cost.response(task, kept, len(samples))
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.bar.advance(count * each)

        self.evaluator.ask(variants, [(task, samples)], tick)
        self.bar.advance((len(variants) * len(samples) * self.evaluator.draws(task) - done) * each)

    def add_stage_time(self, stage: str, seconds: float) -> None:
        """Add to how long a stage took; resumed runs add up."""
        artifacts = Artifacts(self.store)
        spent = artifacts.stages
        artifacts.stages = spent | {stage: spent.get(stage, 0.0) + seconds}

    def like(self, loaded: Loaded) -> Evaluator:
        """An evaluator that asks another model the same way."""
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


def items_of(config: StudyConfig, tasks: Sequence[Task]) -> dict[str, list[Sample]]:
    """The evaluation items of each task."""
    return {task.name: task.samples("evaluate", config.limit, config.data_dir) for task in tasks}


def cost_of(
    config: StudyConfig, shape: Shape, tokenizer: PreTrainedTokenizerBase, items: dict[str, list[Sample]]
) -> Cost:
    """Estimated prices, from the real prompts' lengths."""
    lengths = {
        name: fmean(encode(tokenizer, sample, config.chat).tokens for sample in samples[:20])
        for name, samples in items.items()
    }
    return Cost(shape, config.batch_size, lengths, config.max_new_tokens)


def open_run(config: StudyConfig, out: Path, command: str) -> Run:
    """Load the model and open the run folder, new or to be resumed; nothing stored is touched.

    Raises:
        UserError: the folder holds something else or another model's run.
    """
    check_run_folder(out)
    tasks = config.evaluated()
    items = items_of(config, tasks)
    loaded = load(config.model, revision=config.revision, dtype=config.dtype, device=config.device)
    text = calibration(loaded.tokenizer, config.calibration_items, config.calibration)
    store = Store(out)
    evaluator = _evaluator(config, loaded, store)
    asked = {"chat": config.chat, "decoding": config.decoding.name(0)}
    claim(store, loaded, config.batch_size, **asked, command=command, config=json.loads(config.model_dump_json()))
    _describe(evaluator, config, tasks, items, text)
    shape = Shape(loaded.depth, parameter_count(loaded.model))
    cost = cost_of(config, shape, loaded.tokenizer, with_select(config, items))
    return Run(config, out, store, loaded, evaluator, tasks, items, text, cost, Bar(0.0))


def with_select(config: StudyConfig, items: dict[str, list[Sample]]) -> dict[str, list[Sample]]:
    """The evaluation items, and some of the tasks that only choose layers."""
    chosen = {task.name: task.samples("select", 20, config.data_dir) for task in config.selecting()}
    return chosen | items


def check_run_folder(out: Path) -> None:
    """Refuse a folder that cannot be written to, or holds files but no run.

    Raises:
        UserError: with what is there.
    """
    check_writable(out, empty=not holds_run(out))


def check_splits(config: StudyConfig, items: dict[str, list[Sample]]) -> None:
    """Refuse to evaluate an item that selects layers, calibrates, trains or serves as an example, however it is asked.

    Raises:
        UserError: see `check_leaks`.
    """
    evaluated = [sample for samples in items.values() for sample in samples]
    selecting = [
        sample for task in config.selecting() for sample in task.samples("select", config.select_items, config.data_dir)
    ]
    examples = {question for sample in [*evaluated, *selecting] for question, _ in sample.shots}
    check_leaks("selection items", [sample.question for sample in selecting], evaluated)
    check_leaks("examples", sorted(examples), evaluated)
    check_leaks("calibration texts", written_texts(config.calibration_items, config.calibration), evaluated)
    if config.recovery.kinds:
        training = training_prompts(config.evaluated(), config.recovery.items, config.data_dir)
        check_leaks("training prompts", [sample.question for sample in training], evaluated)


def claim(store: Store, loaded: Loaded, batch_size: int, **more: object) -> None:
    """Make the folder the run of this model, or find that it is; `more` is kept beside.

    Raises:
        UserError: it is the run of another model, number type or batch size.
    """
    ref = loaded.ref
    artifacts = Artifacts(store)
    now: Manifest = {
        "made_by": f"layerlimits {__version__}",
        "model": ref.path,
        "base_fingerprint": ref.base_fingerprint,
        "revision": ref.revision,
        "dtype": ref.dtype,
        "batch_size": batch_size,
    }
    before = artifacts.manifest
    if before:
        refuse_other_run(store.folder, before, now)
    manifest = cast(Manifest, {**(before or {}), **now, **more})
    artifacts.manifest = manifest
    (store.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def refuse_other_run(folder: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to continue a run whose results could not be compared with what comes.

    Raises:
        UserError: another model, number type or batch size.
    """
    for what, name in _FIXED.items():
        # Commands that only evaluate fix less than a study does.
        if name in before and name in now and before[name] != now[name]:
            was, new = (before["model"], now["model"]) if name == "base_fingerprint" else (before[name], now[name])
            raise UserError(
                f"{folder} is the run of another {what}: {was} ({before[name]}), not {new} ({now[name]})",
                "choose another --out; nothing in this folder was changed",
            )


def _describe(
    evaluator: Evaluator,
    config: StudyConfig,
    tasks: Sequence[Task],
    items: dict[str, list[Sample]],
    text: Calibration,
) -> None:
    """What a report needs to know of the model and the tasks."""
    loaded, artifacts = evaluator.loaded, Artifacts(evaluator.store)
    artifacts.base = {
        "name": config.model,
        "fingerprint": loaded.ref.base_fingerprint,
        "layers": loaded.depth,
        "parameters": parameter_count(loaded.model),
        "weight_bytes": weight_bytes(loaded.model),
        "dtype": loaded.ref.dtype,
        "device": str(loaded.model.device),
    }
    artifacts.calibration = {"source": text.source, "hashes": list(text.hashes)}
    artifacts.tasks = [evaluator.described(task, items[task.name]) for task in tasks]
