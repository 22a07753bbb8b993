"""Checks and estimates that do not require the weights of the model."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.leaks import check_leaks
from layerlimits.evaluation.store import Store
from layerlimits.models.locate import configuration
from layerlimits.models.number_type import NumberType
from layerlimits.models.structure_check import check_structure
from layerlimits.recovery.adapters import adapters_of
from layerlimits.results.requirements import check_targets, parse_requirements
from layerlimits.study.alternatives import check_alternatives
from layerlimits.study.budget import check_budget, probe_seconds
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import cost_of, stage_costs, works
from layerlimits.study.manifest import check_run_folder, load_into
from layerlimits.study.probe import rates_of
from layerlimits.study.resolved import ResolvedStudy, resolve
from layerlimits.study.resuming import check_resumable
from layerlimits.study.session import ask_options
from layerlimits.tasks import check_sandbox

# Seconds that the imports and the report of a study take.
_START_S = 8.0


def check_study(config: StudyConfig, out: Path) -> ResolvedStudy:
    """Resolve a study and check that it can run.

    Raises:
        UserError: See `resolve`, `check_targets` and `check_resumable`; also for an architecture from which no layer
            can be removed, a folder that is not writable, and evaluation items that are also used for selection,
            calibration or training.
    """
    check_run_folder(out)
    check_budget(config.budget)
    study = resolve(config)
    # Each plan is checked when it is saved; this finds architectures from which no layer can be removed.
    check_structure(configuration(study.folder), (study.depth // 2,))
    check_sandbox([*study.tasks, *study.select_tasks], config.unsafe_code)
    check_splits(study)
    check_targets(parse_requirements(config.require), [(task.name, task.kind) for task in study.tasks])
    if study.recovery and "lora" in config.recovery.kinds:
        adapters_of(configuration(study.folder))
    check_alternatives(config)
    check_resumable(study, out)
    return study


def check_splits(study: ResolvedStudy) -> None:
    """Check that no evaluation item is used for selection, calibration, training or few-shot examples.

    Raises:
        UserError: See `check_leaks`.
    """
    evaluated = [sample for samples in study.items.values() for sample in samples]
    selecting = [sample for samples in study.select_items.values() for sample in samples]
    examples = {question for sample in [*evaluated, *selecting] for question, _ in sample.shots}
    check_leaks("selection items", [sample.question for sample in selecting], evaluated)
    check_leaks("examples", sorted(examples), evaluated)
    check_leaks("calibration texts", study.calibration.written, evaluated)
    if study.recovery:
        # Selection items choose the best weights.
        chosen_by = [*evaluated, *(selecting if study.recovery.milestones else [])]
        check_leaks("training prompts", [prompt.question for prompt in study.recovery.prompts], chosen_by)


def estimate(study: ResolvedStudy, out: Path) -> tuple[list[dict[str, Any]], float, NumberType]:
    """One row per stage with its number of models, number of responses and estimated seconds; the estimated seconds of
    the whole command, start included; and the number type. The model is loaded and probed unless its rates are known.
    """
    began = time.perf_counter()
    config = study.config
    loaded = load_into(out, config.model, revision=config.revision, dtype=config.dtype, device=config.device)
    with TemporaryDirectory() as folder, Store(Path(folder)) as store:
        evaluator = Evaluator(loaded, store, ask_options(config))
        loading = time.perf_counter() - began
        cost = cost_of(study, rates_of(study, evaluator, probe_seconds(config.budget)))
    costs = stage_costs(study, cost)
    rows: dict[str, dict[str, Any]] = {
        stage: {"stage": stage, "models": 0, "responses": 0, "seconds": costs[stage]} for stage in costs
    }
    for work in works(study):
        row = rows[work.stage]
        # Count models once: every task of a stage is answered by the same models.
        first = study.select_tasks[0] if work.stage == "rank" else study.measured[0]
        row["models"] += work.models if work.task.name == first.name else 0
        row["responses"] += work.responses
    rows["diagnose"]["models"] = sum(rows[stage]["models"] for stage in ("base", "sweep", "prune"))
    rows["speed"]["models"] = 1 + len(study.ratios)
    planned = [row for row in rows.values() if row["stage"] != "recover" or study.recovery]
    return planned, sum(costs.values()) + loading + _START_S, loaded.number_type
