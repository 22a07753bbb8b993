"""Merge run folders of the same study into a new one. Damaged rows are left out: merging one folder saves it."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from shutil import copytree
from typing import Any, cast

from layerlimits.errors import UserError
from layerlimits.evaluation import schema
from layerlimits.evaluation.artifacts import Artifacts, Manifest
from layerlimits.evaluation.store import Store
from layerlimits.evaluation.verify import Record
from layerlimits.results.record import MergeResults
from layerlimits.study.manifest import refuse_other_run, write_copy
from layerlimits.study.resuming import EARLIER_RECOVERY, FIXED_BY_RANKINGS, FIXED_BY_RECOVERY

# Rows per transaction.
_BATCH = 2000
# Values by name, of which the sources have different ones: rankings, finetuned models, memory limits.
_UNITED = ("rankings", "recovered", "row_limits")
# What no merged folder has: the study is finished, or within its budget, when it has been resumed there.
_NOT_MERGED = ("manifest", "finished", "left_out", "skipped")


def merge_into(store: Store, sources: Sequence[Path], out: Path) -> MergeResults:
    """Merge run folders into the store of a new one.

    Args:
        store: The store.
        sources: The run folders; of what they have in common, the first one's is kept.
        out: The final path of the new run folder, for the results.
    Raises:
        UserError: A source has no run, or the sources belong to different studies.
    """
    records = [Record(source) for source in sources]
    manifests = [_manifest(record) for record in records]
    for record, manifest in zip(records[1:], manifests[1:], strict=True):
        _check_same(sources[0], manifests[0], record.folder, manifest)
    counts = [_add(store, record) for record in records]
    store.drop_begun()
    _merge_values(store, records, manifests)
    for source in sources:
        _copy_models(source, store.folder)
    write_copy(cast(Manifest, manifests[0]), store.folder)
    return MergeResults(
        run=str(out),
        sources=tuple(map(str, sources)),
        model=str(manifests[0]["model"]),
        responses=sum(added for added, _, _ in counts),
        added=tuple(added for added, _, _ in counts),
        conflicts=sum(conflicts for _, conflicts, _ in counts),
        dropped=sum(dropped for _, _, dropped in counts),
    )


def _manifest(record: Record) -> dict[str, Any]:
    manifest = record.manifest()
    if manifest is None or not all(name in manifest for name in ("model", "base_fingerprint", "dtype", "batch_size")):
        raise UserError(f"{record.folder} does not say which model it evaluates", "merge the other folders without it")
    return manifest


def _check_same(first: Path, before: Mapping[str, Any], other: Path, now: Mapping[str, Any]) -> None:
    """Check that the responses of two run folders are comparable, and that their rankings are."""
    fix = "merge only run folders of the same model and settings; no folder was changed"
    try:
        refuse_other_run(first, before, now)
    except UserError as error:
        raise UserError(f"{other} and {first} do not belong together: {error.problem}", fix) from None
    ours, theirs = before.get("config"), now.get("config")
    if not ours or not theirs:
        return
    differing = [name for name in FIXED_BY_RANKINGS if ours.get(name) != theirs.get(name)]
    trained, others = (EARLIER_RECOVERY | recorded.get("recovery", {}) for recorded in (ours, theirs))
    differing += [f"recovery.{name}" for name in FIXED_BY_RECOVERY if trained.get(name) != others.get(name)]
    if before.get("selection") != now.get("selection") and not differing:
        differing.append("selection items")
    if differing:
        raise UserError(f"{other} and {first} do not belong together: they differ in {', '.join(differing)}", fix)


def _add(store: Store, record: Record) -> tuple[int, int, int]:
    """Add the sound rows of a run folder; returns the responses added, those in conflict, and the rows left out."""
    added = conflicts = dropped = 0
    for table in schema.TABLES:
        rows = iter(record.rows(table))
        while batch := list(islice(rows, _BATCH)):
            values = [row.values for row in batch if row.problem is None]
            dropped += len(batch) - len(values)
            if table == "artifacts":
                continue
            if table == "responses":
                conflicts += store.differing(values)
            new = store.add_rows(table, values)
            added += new if table == "responses" else 0
    return added, conflicts, dropped


def _merge_values(store: Store, records: Sequence[Record], manifests: Sequence[Mapping[str, Any]]) -> None:
    every = [record.artifacts() for record in records]
    merged = {name: content for values in reversed(every) for name, content in values.items()}
    for name in _UNITED:
        if name in merged:
            merged[name] = {key: item for values in reversed(every) for key, item in values.get(name, {}).items()}
    if "stages" in merged:
        names = dict.fromkeys(stage for values in every for stage in values.get("stages", {}))
        merged["stages"] = {name: sum(values.get("stages", {}).get(name, 0.0) for values in every) for name in names}
    for name, key in (("tasks", "name"), ("asked", "name"), ("probes", "name"), ("plans", "removed")):
        if name in merged:
            merged[name] = list(_united(key, [values.get(name, []) for values in every]))
    artifacts = Artifacts(store)
    artifacts.manifest = cast(Manifest, dict(manifests[0]))
    for name, content in merged.items():
        if name not in _NOT_MERGED:
            artifacts.restore(name, content)


def _united(key: str, lists: Sequence[Sequence[Mapping[str, Any]]]) -> Iterator[Mapping[str, Any]]:
    """The records of all lists, each once: the one with the most items, the first of equals."""
    best: dict[str, Mapping[str, Any]] = {}
    for record in (record for records in lists for record in records):
        name = f"{record.get('method', '')} {record[key]}"
        if name not in best or len(record.get("ids", ())) > len(best[name].get("ids", ())):
            best[name] = record
    yield from best.values()


def _copy_models(source: Path, target: Path) -> None:
    """Copy the finetuned models that the new folder does not have yet."""
    models = source / "models"
    for model in sorted(models.iterdir()) if models.is_dir() else ():
        if model.is_dir() and not model.is_symlink() and not (target / "models" / model.name).exists():
            copytree(model, target / "models" / model.name)
