"""Everything about a study that can be known before weights load: mistakes, and how long it will take."""

from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.models.locate import configuration
from layerlimits.models.sound import check_sound
from layerlimits.recovery.data import check_disjoint
from layerlimits.study.config import StudyConfig
from layerlimits.study.estimate import cost_of, method_cost, shape_of, training_cost, works
from layerlimits.study.manifest import check_run_folder
from layerlimits.study.resolved import ResolvedStudy, resolve
from layerlimits.study.resuming import check_resumable
from layerlimits.tasks import check_sandbox
from layerlimits.types import content_hash


def check_study(config: StudyConfig, out: Path) -> ResolvedStudy:
    """The study, worked out; refuses what cannot work.

    Raises:
        UserError: see `resolve` and `check_resumable`; an architecture that can lose no layer; a folder that cannot be
            written to; items that would be both trained on, selected or calibrated by, and evaluated.
    """
    check_run_folder(out)
    study = resolve(config)
    # Each plan is checked when it is saved; an architecture that can lose no layer is known now.
    check_sound(configuration(study.folder), (study.depth // 2,))
    check_sandbox([*study.tasks, *study.select_tasks], config.unsafe_code)
    if study.recovery:
        evaluated = [sample for samples in study.items.values() for sample in samples]
        check_disjoint(study.recovery.prompts, evaluated)
    check_splits(study)
    check_resumable(study, out)
    return study


def check_splits(study: ResolvedStudy) -> None:
    """Refuse to evaluate an item that selects layers or calibrates, whatever choices it is asked with.

    Raises:
        UserError: with the numbers.
    """
    evaluated = {content_hash(sample.question) for samples in study.items.values() for sample in samples}
    selecting = {content_hash(sample.question) for samples in study.select_items.values() for sample in samples}
    for what, ids in (("selection", selecting), ("calibration", set(study.calibration.hashes))):
        shared = len(evaluated & ids)
        if shared:
            raise UserError(
                f"{shared} of {len(ids)} {what} items would be evaluated too", f"give other {what} items: these decide"
            )


def estimate(study: ResolvedStudy) -> list[dict[str, Any]]:
    """A row a stage: how many models answer how many items, and about how many seconds that takes."""
    cost = cost_of(study, shape_of(study.folder))
    rows: dict[str, dict[str, Any]] = {}
    for work in works(study):
        row = rows.setdefault(work.stage, {"stage": work.stage, "models": 0, "responses": 0, "seconds": 0.0})
        # Every task of a stage is answered by the same models.
        first = study.select_tasks[0] if work.stage == "rank" else study.tasks[0]
        row["models"] += work.models if work.task.name == first.name else 0
        row["responses"] += work.responses
        row["seconds"] += cost.work(work)
    # Methods that ask no task have no row yet, and methods' passes over the calibration text are no responses.
    ranking = rows.setdefault("rank", {"stage": "rank", "models": 0, "responses": 0})
    ranking["seconds"] = sum(method_cost(study, method, cost) for method in study.config.methods)
    if study.recovery:
        rows["recover"]["seconds"] += training_cost(study, cost)
    order = ("base", "sweep", "rank", "prune", "recover")
    return sorted(rows.values(), key=lambda row: order.index(row["stage"]))
