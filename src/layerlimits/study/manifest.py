"""The manifest of a run folder: the model it belongs to, and the settings that all of its responses must share."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import cast

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.models.number_type import NumberType, ProductRate
from layerlimits.paths import MANIFEST_FILE, OUT, check_writable, given_path, holds_run
from layerlimits.version import __version__

# Settings that all responses of a run must share to be comparable, with their keys in the manifest.
_FIXED = {
    "model": "base_fingerprint",
    "dtype": "dtype",
    "batch size": "batch_size",
    "chat setting": "chat",
    "system prompt": "system",
    "set of template arguments": "chat_args",
    "decoding": "decoding",
}


def check_run_folder(out: Path) -> None:
    """Check that a folder can be used as a run folder.

    Raises:
        UserError: The folder is not writable, or contains files but no run.
    """
    given_path(out, OUT)
    check_writable(out, empty=not holds_run(out))


def load_into(folder: Path, model: str, *, revision: str | None, dtype: str, device: str) -> Loaded:
    """Load a model whose responses a run folder stores.

    In a folder that contains a run, dtype "auto" is the dtype of that run, on every machine: responses in another one
    would not be comparable.

    Raises:
        UserError: See `models.load.load`.
    """
    recorded = _number_type(folder) if dtype == "auto" else None
    if recorded is None:
        return load(model, revision=revision, dtype=dtype, device=device)
    loaded = load(model, revision=revision, dtype=recorded.dtype, device=device)
    return replace(loaded, number_type=recorded)


def _number_type(folder: Path) -> NumberType | None:
    """The number type of the run in a folder, with the recorded reason; None if there is no run."""
    if not holds_run(folder):
        return None
    with Store(folder, read_only=True) as store:
        manifest = Artifacts(store).manifest
    if manifest is None:
        return None
    rates = tuple(ProductRate(**rate) for rate in manifest.get("dtype_rates", []))
    return NumberType(manifest["dtype"], manifest.get("dtype_reason", "the type of the run folder"), rates)


def claim(store: Store, loaded: Loaded, batch_size: int, **more: object) -> None:
    """Write the manifest of a run folder, or check it if there is one.

    Args:
        store: The run folder.
        loaded: The unpruned model.
        batch_size: Prompts per batch.
        more: Further entries, which only a study records.
    Raises:
        UserError: The folder belongs to another model, dtype or batch size, or to a study with another chat setting or
            decoding.
    """
    ref = loaded.ref
    artifacts = Artifacts(store)
    now: Manifest = {
        "made_by": f"layerlimits {__version__}",
        "model": ref.path,
        "base_fingerprint": ref.base_fingerprint,
        "revision": ref.revision,
        "dtype": ref.dtype,
        "dtype_reason": loaded.number_type.reason,
        "dtype_rates": [
            {"dtype": rate.dtype, "rows": rate.rows, "gflops": rate.gflops} for rate in loaded.number_type.rates
        ],
        "batch_size": batch_size,
    }
    before = artifacts.manifest
    if before:
        refuse_other_run(store.folder, before, {**now, **more})
        if not more:
            # Commands other than `study` add responses without changing a study's manifest.
            return
    manifest = cast(Manifest, {**(before or {}), **now, **more})
    artifacts.manifest = manifest
    write_copy(manifest, store.folder)


def write_copy(manifest: Manifest, folder: Path) -> None:
    """Write the manifest as `manifest.json`, for people to read; the database has the manifest that is used."""
    (folder / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n")


def refuse_other_run(folder: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Check that new responses would be comparable with those of the run.

    Raises:
        UserError: Another model, dtype, batch size, chat setting or decoding.
    """
    for what, name in _FIXED.items():
        # Commands other than `study` record fewer settings.
        if name in before and name in now and before[name] != now[name]:
            # Show the model's path as well, since a fingerprint alone is meaningless to users.
            was, new = (f"{run['model']} ({run[name]})" if what == "model" else str(run[name]) for run in (before, now))
            raise UserError(
                f"{folder} contains a run with another {what}: {was}, not {new}",
                "choose another output folder (--out); this folder was not changed",
            )
