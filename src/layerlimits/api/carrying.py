"""`export_run` and `import_run`: a run folder in one file, to resume or report it on another machine."""

from pathlib import Path
from typing import NamedTuple

from layerlimits.api.studying import check_run
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.exchange import SUFFIX, check_export_file, read_export, write_export
from layerlimits.evaluation.parquet import holds_tables, read_tables, write_tables
from layerlimits.evaluation.store import Store
from layerlimits.paths import check_new_folder, given_path, new_folder
from layerlimits.results.carried import CarryResults
from layerlimits.study.config import check_recorded
from layerlimits.study.manifest import write_copy
from layerlimits.version import __version__

MADE_BY = f"layerlimits {__version__}"


class Carried(NamedTuple):
    """What was written or read: who wrote it, the number of rows by table, and the hash if it is one file."""

    made_by: str
    rows: dict[str, int]
    sha256: str | None = None


def export_run(run: str | Path, file: str | Path | None = None, *, parquet: bool = False) -> CarryResults:
    """Write a run folder to one file, without texts of benchmark items and without weights of finetuned models.

    Args:
        run: the run folder.
        file: the file; if None, `<name of the run folder>.layerlimits.gz` in the current folder. An older export is
            replaced, other files are not.
        parquet: write a new folder with one Parquet file per table instead, with everything that the database
            contains, texts of items included; by default `<name of the run folder>.parquet`.
    Raises:
        UserError: `run` is no run folder or is empty, or `file` is something else than an export, or cannot be written.

    Example:
        >>> export_run("runs/reference", "study.layerlimits.gz").responses
    """
    folder = Path(run)
    check_run(folder)
    out = Path(file) if file else Path(f"{folder.resolve().name}{'.parquet' if parquet else SUFFIX}")
    check_new_folder(out) if parquet else check_export_file(out)
    with Store(folder, read_only=True) as store:
        artifacts = Artifacts(store)
        manifest = artifacts.manifest
        if manifest is None:
            raise UserError(f"{run} contains no run yet", "repeat the command that writes to it, then export it")
        if not parquet:
            header = write_export(store, out)
            counts = Carried(header.made_by, header.counts.model_dump(), header.sha256)
        else:
            with new_folder(out) as partial:
                counts = Carried(MADE_BY, write_tables(store, partial))
        return _results(folder, out, counts, manifest, artifacts)


def import_run(file: str | Path, run: str | Path) -> CarryResults:
    """Read a file or folder of `export_run` into a new run folder. A study with the same settings resumes there.

    The folder appears when it is complete.

    Args:
        file: the file, or the folder of Parquet files.
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
    with new_folder(out) as partial:
        with Store(partial) as store:
            counts, artifacts = _read(source, store), Artifacts(store)
            manifest = artifacts.manifest
            if manifest is None:
                raise UserError(f"{source} does not name the model of the run", "export the run again")
            check_recorded(manifest.get("config"), str(source))
            results = _results(out, source, counts, manifest, artifacts)
        write_copy(manifest, partial)
    return results


def _read(source: Path, store: Store) -> Carried:
    if given_path(source, "the export").is_dir() and holds_tables(source):
        return Carried(MADE_BY, read_tables(source, store))
    header = read_export(source, store)
    return Carried(header.made_by, header.counts.model_dump(), header.sha256)


def _results(run: Path, file: Path, counts: Carried, manifest: Manifest, artifacts: Artifacts) -> CarryResults:
    return CarryResults(
        run=str(run),
        file=str(file),
        model=manifest["model"],
        made_by=counts.made_by,
        models=counts.rows["models"],
        responses=counts.rows["responses"],
        artifacts=counts.rows["artifacts"],
        sha256=counts.sha256,
        whole=counts.sha256 is None,
        without_weights=tuple(artifacts.recovered),
    )
