"""Whose run a folder is: the manifest, and what may not differ between answers that are compared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.paths import check_writable, given_path, holds_run
from layerlimits.version import __version__

# What all answers of a run have in common, for them to be compared; and its name in the manifest.
_FIXED = {
    "model": "base_fingerprint",
    "dtype": "dtype",
    "batch size": "batch_size",
    "chat setting": "chat",
    "decoding": "decoding",
}


def check_run_folder(out: Path) -> None:
    """Refuse a folder that cannot be written to, or holds files but no run.

    Raises:
        UserError: with what is there.
    """
    given_path(out, "--out")
    check_writable(out, empty=not holds_run(out))


def claim(store: Store, loaded: Loaded, batch_size: int, **more: object) -> None:
    """Make the folder the run of this model, or find that it is; a study's `more` is kept beside.

    Raises:
        UserError: it is the run of another model, number type or batch size, or of a study that asked in another way.
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
        refuse_other_run(store.folder, before, {**now, **more})
        if not more:
            # A command that only adds answers leaves the manifest of a study as it is.
            return
    manifest = cast(Manifest, {**(before or {}), **now, **more})
    artifacts.manifest = manifest
    (store.folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def refuse_other_run(folder: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Refuse to continue a run whose results could not be compared with what comes.

    Raises:
        UserError: another model, number type, batch size, chat setting or decoding.
    """
    for what, name in _FIXED.items():
        # Commands that only evaluate fix less than a study does.
        if name in before and name in now and before[name] != now[name]:
            # A model is named by its path, too: a fingerprint alone says nothing to people.
            was, new = (f"{run['model']} ({run[name]})" if what == "model" else str(run[name]) for run in (before, now))
            raise UserError(
                f"{folder} is the run of another {what}: {was}, not {new}",
                "choose another --out; nothing in this folder was changed",
            )
