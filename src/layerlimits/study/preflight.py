"""Checks and estimates that do not require the weights of the model."""

from pathlib import Path
from typing import Any

from layerlimits.evaluation.leaks import check_leaks
from layerlimits.models.locate import configuration
from layerlimits.models.structure_check import check_structure
from layerlimits.recovery.adapters import adapters_of
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import cost_of, method_cost, shape_of, training_cost, works
from layerlimits.study.manifest import check_run_folder
from layerlimits.study.resolved import ResolvedStudy, resolve
from layerlimits.study.resuming import check_resumable
from layerlimits.tasks import check_sandbox


def check_study(config: StudyConfig, out: Path) -> ResolvedStudy:
    """Resolve a study and check that it can run.

    Raises:
        UserError: See `resolve` and `check_resumable`; also for an architecture from which no layer can be removed, a
            folder that is not writable, and evaluation items that are also used for selection, calibration or training.
    """
    check_run_folder(out)
    study = resolve(config)
    # Each plan is checked when it is saved; this finds architectures from which no layer can be removed.
    check_structure(configuration(study.folder), (study.depth // 2,))
    check_sandbox([*study.tasks, *study.select_tasks], config.unsafe_code)
    check_splits(study)
    if study.recovery and "lora" in config.recovery.kinds:
        adapters_of(configuration(study.folder))
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
        check_leaks("training prompts", [prompt.question for prompt in study.recovery.prompts], evaluated)


def estimate(study: ResolvedStudy) -> list[dict[str, Any]]:
    """One row per stage: number of models, number of responses, and estimated seconds."""
    cost = cost_of(study, shape_of(study.folder))
    rows: dict[str, dict[str, Any]] = {}
    for work in works(study):
        row = rows.setdefault(work.stage, {"stage": work.stage, "models": 0, "responses": 0, "seconds": 0.0})
        # Count models once: every task of a stage is answered by the same models.
        first = study.select_tasks[0] if work.stage == "rank" else study.tasks[0]
        row["models"] += work.models if work.task.name == first.name else 0
        row["responses"] += work.responses
        row["seconds"] += cost.work(work)
    # Methods that evaluate no task have no row yet; forward passes over the calibration text do not count as responses.
    ranking = rows.setdefault("rank", {"stage": "rank", "models": 0, "responses": 0})
    ranking["seconds"] = sum(method_cost(study, method, cost) for method in study.config.methods)
    if study.recovery:
        rows["recover"]["seconds"] += training_cost(study, cost)
    order = ("base", "sweep", "rank", "prune", "recover")
    return sorted(rows.values(), key=lambda row: order.index(row["stage"]))
