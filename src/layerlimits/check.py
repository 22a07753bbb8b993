"""Everything about a study that can be known before weights load: mistakes, and how long it will take."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from layerlimits.calibration import calibration
from layerlimits.config import StudyConfig
from layerlimits.models.locate import check_complete, configuration, layer_count, locate
from layerlimits.models.remove import check_protected
from layerlimits.models.sound import check_sound
from layerlimits.plan import counts, method_cost, shape_of, training_cost, works
from layerlimits.plugins import find
from layerlimits.recovery.data import check_disjoint, training_prompts
from layerlimits.run import check_run_folder, cost_of, items_of, with_select
from layerlimits.tasks import check_sandbox


def check_study(config: StudyConfig, out: Path) -> None:
    """Refuse what cannot work.

    Raises:
        UserError: an architecture that can lose no layer; a model, folder, task, method, ratio or protected layer that
            cannot be; training items that are evaluated too.
    """
    check_run_folder(out)
    folder = locate(config.model, config.revision)
    check_complete(folder)
    depth = layer_count(folder)
    # Each plan is checked when it is saved; an architecture that can lose no layer is known now.
    check_sound(configuration(folder), (depth // 2,))
    tasks = config.evaluated()
    check_sandbox([*tasks, *config.selecting()], config.unsafe_code)
    for method in config.methods:
        find("methods", method)
    if config.recovery.kinds:
        evaluated = [sample for samples in items_of(config, tasks).values() for sample in samples]
        check_disjoint(training_prompts(tasks, config.recovery.items, config.data_dir), evaluated)
    check_protected(config.protect or (), depth)
    counts(config, depth)


def estimate(config: StudyConfig) -> list[dict[str, Any]]:
    """A row a stage: how many models answer how many items, and about how many seconds that takes."""
    folder = locate(config.model, config.revision)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    tasks = config.evaluated()
    items = items_of(config, tasks)
    shape = shape_of(config)
    cost = cost_of(config, shape, tokenizer, with_select(config, items))
    text = calibration(tokenizer, config.calibration_items, config.calibration)
    tokens = sum(map(len, text.ids))
    rows: dict[str, dict[str, Any]] = {}
    for work in works(config, shape.layers, items):
        row = rows.setdefault(work.stage, {"stage": work.stage, "models": 0, "responses": 0, "seconds": 0.0})
        # Every task of a stage is answered by the same models.
        first = config.selecting()[0].name if work.stage == "rank" else tasks[0].name
        row["models"] += work.models if work.task.name == first else 0
        row["responses"] += work.responses
        row["seconds"] += cost.work(work)
    # Methods that ask no task have no row yet, and methods' passes over the calibration text are no responses.
    ranking = rows.setdefault("rank", {"stage": "rank", "models": 0, "responses": 0})
    ranking["seconds"] = sum(method_cost(config, method, shape.layers, cost, tokens) for method in config.methods)
    if config.recovery.kinds:
        rows["recover"]["seconds"] += training_cost(config, shape.layers, cost, tasks)
    order = ("base", "sweep", "rank", "prune", "recover")
    return sorted(rows.values(), key=lambda row: order.index(row["stage"]))
