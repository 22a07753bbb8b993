"""`export_run` and `import_run`: a run folder in one file, to resume or report it on another machine."""

import os
import sqlite3
from pathlib import Path
from shutil import rmtree

from layerlimits.api.studying import check_run
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.exchange import SUFFIX, check_export_file, read_export, write_export
from layerlimits.evaluation.export_rows import Header
from layerlimits.evaluation.store import Store
from layerlimits.paths import check_new_folder
from layerlimits.results.carried import CarryResults
from layerlimits.study.config import check_recorded
from layerlimits.study.manifest import write_copy


def export_run(run: str | Path, file: str | Path | None = None) -> CarryResults:
    """Write a run folder to one file, without texts of benchmark items and without weights of finetuned models.

    Args:
        run: the run folder.
        file: the file; if None, `<name of the run folder>.layerlimits.gz` in the current folder. An older export is
            replaced, other files are not.
    Raises:
        UserError: `run` is no run folder or is empty, or `file` is something else than an export, or cannot be written.

    Example:
        >>> export_run("runs/reference", "study.layerlimits.gz").responses
    """
    folder = Path(run)
    check_run(folder)
    out = Path(file) if file else Path(f"{folder.resolve().name}{SUFFIX}")
    check_export_file(out)
    try:
        with Store(folder, read_only=True) as store:
            artifacts = Artifacts(store)
            manifest = artifacts.manifest
            if manifest is None:
                raise UserError(f"{run} contains no run yet", "repeat the command that writes to it, then export it")
            return _results(folder, out, write_export(store, out), manifest, artifacts)
    except sqlite3.DatabaseError as error:
        raise UserError(f"failed to read {folder}/run.sqlite: {error}", "give another run folder") from None


def import_run(file: str | Path, run: str | Path) -> CarryResults:
    """Read a file of `export_run` into a new run folder. A study with the same settings resumes there.

    The folder appears when it is complete.

    Args:
        file: the file.
        run: the run folder; must not exist, or be empty.
    Raises:
        UserError: `file` is not an export, is truncated or altered, or was written by another version; or `run` is not
            empty or cannot be written.

    Example:
        >>> import_run("study.layerlimits.gz", "runs/reference").model
        >>> run_study(StudyConfig(model="reference"), "runs/reference")
    """
    source, out = Path(file), Path(run)
    check_new_folder(out)
    target = out.resolve()
    # In the nearest folder that exists: an import that fails leaves nothing.
    parent = next(folder for folder in target.parents if folder.is_dir())
    partial = parent / f".{target.name}.{os.getpid()}.partial"
    try:
        with Store(partial) as store:
            header, artifacts = read_export(source, store), Artifacts(store)
            manifest = artifacts.manifest
            if manifest is None:
                raise UserError(f"{source} does not name the model of the run", "export the run again")
            check_recorded(manifest.get("config"), str(source))
            results = _results(out, source, header, manifest, artifacts)
        write_copy(manifest, partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        # Only an empty folder is replaced.
        partial.rename(target)
        return results
    except (OSError, sqlite3.DatabaseError) as error:
        raise UserError(f"failed to write {out}: {error}", "choose another --out") from None
    finally:
        rmtree(partial, ignore_errors=True)


def _results(run: Path, file: Path, header: Header, manifest: Manifest, artifacts: Artifacts) -> CarryResults:
    return CarryResults(
        run=str(run),
        file=str(file),
        model=manifest["model"],
        made_by=header.made_by,
        models=header.counts.models,
        responses=header.counts.responses,
        artifacts=header.counts.artifacts,
        sha256=header.sha256,
        without_weights=tuple(artifacts.recovered),
    )
