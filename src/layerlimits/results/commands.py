"""The command lines that make a pruned or finetuned model of a study again."""

import shlex
from collections.abc import Mapping
from typing import Any

from layerlimits.evaluation.artifacts import Manifest
from layerlimits.results.candidates import Candidate


def commands(candidate: Candidate, model: str, manifest: Manifest) -> tuple[str, ...]:
    """`prune`, and for a finetuned model `recover`, with the settings of the study.

    Args:
        candidate: The model.
        model: The unpruned model as it was given to the study.
        manifest: The study's manifest.
    """
    pruned = f"{candidate.methods[0].replace(':', '-').replace('=', '-').replace('/', '-')}-{len(candidate.removed)}"
    removed = ",".join(map(str, candidate.removed))
    revision = ["--revision", manifest["revision"]] if manifest["revision"] else []
    lines = [["layerlimits", "prune", model, "--remove", removed, *revision, "--out", pruned]]
    if candidate.record:
        options = _recovery_options(candidate.record["settings"], manifest.get("config", {}))
        out = f"{pruned}-{candidate.record['name']}"
        lines.append(["layerlimits", "recover", pruned, "--parent", model, *revision, *options, "--out", out])
    return tuple(map(shlex.join, lines))


def _recovery_options(settings: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """The options of `recover` that differ between studies; those that a former version did not record are omitted."""
    recovery = config.get("recovery") or {}
    values = {
        "--kind": settings.get("kind"),
        "--objective": settings.get("objective"),
        "--epochs": settings.get("epochs"),
        "--items": recovery.get("items"),
        "--data": recovery.get("data"),
        "--tasks": ",".join(config.get("tasks") or ()) or None,
        "--data-dir": config.get("data_dir"),
        "--milestones": recovery.get("milestones") or None,
        "--select-items": config.get("select_items") if recovery.get("milestones") else None,
        "--seed": settings.get("seed"),
    }
    return [part for flag, value in values.items() if value is not None for part in (flag, str(value))]
