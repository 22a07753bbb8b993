"""Which settings of a study may change when its run folder is used again.

The key of a response contains everything that affects it, so most settings may change: the study then covers the new
settings and reuses all stored responses that still apply.

- May change: tasks, protocols and shots (before any model is recovered), limit, samples, methods, ratios, which models
  are recovered (recovery.kinds, recovery.objectives, recovery.methods, recovery.ratios), difference, speed_repeats,
  preset, revision, device, data_dir, max_rows, unsafe_code, and the command.
- May only grow once the study is finished, because its report would be replaced by one of less: tasks, limit, samples,
  methods, ratios. `difference` is then fixed, and a budget cannot be added.
- Fixed from the start, because all responses must be comparable: the model's files, dtype, batch_size, chat, system,
  chat_args, temperature, top_p, top_k, max_new_tokens.
- Fixed once a method has ranked, because rankings are compared: seed, protect, select_tasks, select_items and the
  resulting items, calibration, calibration_items.
- Fixed once a model is recovered: recovery.items, recovery.epochs, recovery.milestones (which hold out prompts), and
  everything that changes the training prompts.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.paths import holds_run
from layerlimits.study.manifest import refuse_other_run
from layerlimits.study.resolved import ResolvedStudy

FIXED_BY_RANKINGS = ("seed", "protect", "select_tasks", "select_items", "calibration_items")
FIXED_BY_RECOVERY = ("items", "epochs", "milestones")
# Of studies that were recorded before there was the setting.
NO_TEMPLATE: Mapping[str, object] = {"system": "", "chat_args": {}}
EARLIER_RECOVERY = {"milestones": 0}
_COUNTS = ("samples", "budget")


def check_resumable(study: ResolvedStudy, out: Path) -> None:
    """Check that settings are compatible with the results in a run folder, before anything is loaded or written.

    Raises:
        UserError: Some settings are not; all are listed, with the old and the new value.
    """
    if not holds_run(out):
        return
    with Store(out, read_only=True) as store:
        artifacts = Artifacts(store)
        manifest = artifacts.manifest
        if manifest is None:
            return
        # Studies recorded before there were these settings had none.
        recorded = {**NO_TEMPLATE, **manifest} if manifest.get("config") else manifest
        refuse_other_run(out, recorded, {"batch_size": study.config.batch_size, **_asking(study)})
        changes = _changes(study, artifacts, manifest)
    if changes:
        raise UserError(
            f"{out} contains results with other settings: {'; '.join(changes)}",
            "choose another output folder (--out), or use the old settings; this folder was not changed",
        )


def recorded_settings(study: ResolvedStudy) -> dict[str, Any]:
    """The manifest entries of a study, which `check_resumable` reads later."""
    recorded = {"config": settings(study), "selection": study.selection_hash, **_asking(study)}
    return recorded | ({"training": study.recovery.data_hash} if study.recovery else {})


def _asking(study: ResolvedStudy) -> dict[str, Any]:
    """The settings shared by all prompts of a study, as manifest entries."""
    config = study.config
    template = {"system": config.system, "chat_args": config.chat_args}
    return {"chat": config.chat, **template, "decoding": config.decoding.name(0)}


def settings(study: ResolvedStudy) -> dict[str, Any]:
    """The configuration as JSON values."""
    values: dict[str, Any] = json.loads(study.config.model_dump_json())
    return values


def _changes(study: ResolvedStudy, artifacts: Artifacts, manifest: Mapping[str, Any]) -> list[str]:
    before, now = manifest.get("config"), settings(study)
    if before is None:
        # The folder was only used by other commands, such as `evaluate`.
        return []
    changes = _narrowed(study, artifacts, now)
    if artifacts.rankings:
        changes += [
            _change(name, before[name], now[name])
            for name in FIXED_BY_RANKINGS
            if name in before and before[name] != now[name]
        ]
        text = artifacts.calibration
        if text and list(text["hashes"]) != list(study.calibration.hashes) and not changes:
            changes.append(f"calibration text from {text['source']}, not from {study.calibration.source}")
        if manifest.get("selection", study.selection_hash) != study.selection_hash and not changes:
            changes.append("different selection items")
    if artifacts.recovered and study.recovery:
        trained, wanted = EARLIER_RECOVERY | before["recovery"], now["recovery"]
        changed = [name for name in FIXED_BY_RECOVERY if trained[name] != wanted[name]]
        changes += [_change(f"recovery.{name}", trained[name], wanted[name]) for name in changed]
        if manifest.get("training", study.recovery.data_hash) != study.recovery.data_hash and not changed:
            changes.append("different training prompts, because of tasks, protocols, shots or data_dir")
    return changes


def _narrowed(study: ResolvedStudy, artifacts: Artifacts, now: Mapping[str, Any]) -> list[str]:
    """What a finished study has and the new settings leave out: its report would be replaced by one of less."""
    before = artifacts.finished
    if not before:
        return []
    less = (now["samples"] < before["samples"], now["budget"] is not None and before["budget"] is None)
    changes = [_change(name, before[name], now[name]) for name in ("difference",) if before[name] != now[name]]
    changes += [_change(name, before[name], now[name]) for name, is_less in zip(_COUNTS, less, strict=True) if is_less]
    names = {task.name for task in study.tasks}
    for name in ("methods", "ratios"):
        if set(before[name]) - set(now[name]):
            changes.append(_change(name, before[name], now[name]))
    records = artifacts.tasks or []
    if lacking := [record["name"] for record in records if record["name"] not in names]:
        changes.append(f"without the tasks {', '.join(lacking)}")
    covered = {name: {sample.id for sample in samples} for name, samples in study.items.items()}
    if any(set(record["ids"]) - covered[record["name"]] for record in records if record["name"] in names):
        changes.append(_change("limit", before["limit"], now["limit"]))
    return changes


def _change(name: str, before: Any, now: Any) -> str:
    return f"{name} {json.dumps(before)}, not {json.dumps(now)}"
