"""Run folders of the same study are merged, and carried as Parquet files, without loss."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stored_runs import STORED, finished_study

import layerlimits as ll
from layerlimits.errors import UserError
from layerlimits.evaluation import schema
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Key, Store

Refused = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run folder of a finished study, in which a further answer was begun."""
    finished_study(tmp_path / "run")
    with Store(tmp_path / "run") as store:
        store.add_begun({Key("fingerprint", "facts@free", 1, "x", "p", "greedy", "E"): [1, 2]})
        store.add_prompts({"p0": {"text": "naïve \u2028 \x00 question", "template": None}})
    return tmp_path / "run"


def rows(run: Path) -> dict[str, list[Any]]:
    with Store(run, read_only=True) as store:
        return {table: list(store.rows(table)) for table in schema.TABLES}


def half(run: Path, target: Path, keep: str) -> Path:
    """A copy with a part of the responses."""
    shutil.copytree(run, target)
    with Store(target) as store, store._db:
        for table in ("responses", "verdicts"):
            store._db.execute(f"DELETE FROM {table} WHERE NOT ({keep})")
    return target


def test_two_halves_are_the_whole(run: Path, tmp_path: Path) -> None:
    first = half(run, tmp_path / "first", "sample < '5'")
    second = half(run, tmp_path / "second", "sample >= '3'")
    results = ll.merge_runs([first, second], tmp_path / "merged")
    assert sum(results.added) == results.responses == len(rows(run)["responses"]) == STORED
    assert 0 < results.added[1] < len(rows(second)["responses"])
    assert (results.conflicts, results.dropped) == (0, 0)
    merged, whole = rows(tmp_path / "merged"), rows(run)
    assert {table: merged[table] for table in merged if table != "artifacts"} == {
        table: whole[table] for table in whole if table != "artifacts"
    }
    assert ll.verify_run(tmp_path / "merged").sound
    ours, theirs = (ll.open_run(folder).to_json() for folder in (tmp_path / "merged", run))
    # The study itself is finished when it has been resumed there.
    assert "The study is not finished" in ours["answer"]
    same = set(ours) - {"created", "stages", "answer", "verdict"}
    assert {name: ours[name] for name in same} == {name: theirs[name] for name in same}
    # Both halves have spent this time.
    assert [stage["seconds"] for stage in ours["stages"]] == [2 * stage["seconds"] for stage in theirs["stages"]]


def test_of_different_answers_the_first_is_kept(run: Path, tmp_path: Path, says: Callable[..., Any]) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    with Store(other) as store, store._db:
        (row, *_) = store.rows("responses")
        store._write("responses", [(*row[:7], "another", *row[8:])], replace=True)
    results = ll.merge_runs([run, other], tmp_path / "merged")
    assert (results.conflicts, results.added[1]) == (1, 0)
    assert rows(tmp_path / "merged")["responses"] == rows(run)["responses"]
    printed = says("merge", other, run, "--out", tmp_path / "again")
    assert printed["conflicts"] == 1


def test_answers_that_were_begun_in_one_and_finished_in_another(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    with Store(other) as store:
        store.add_rows(
            "responses", [("fingerprint", "facts@free", 1, "x", "p", "greedy", "E", "7", "[7]", "stop", "[]")]
        )
    ll.merge_runs([run, other], tmp_path / "merged")
    assert rows(run)["begun"]
    assert rows(tmp_path / "merged")["begun"] == []


def test_finetuned_models_are_merged(run: Path, tmp_path: Path) -> None:
    (run / "models" / "random-1-full").mkdir(parents=True)
    (run / "models" / "random-1-full" / "config.json").write_text("{}")
    other = half(run, tmp_path / "other", "sample < '5'")
    with Store(other) as store:
        artifacts = Artifacts(store)
        (one,) = artifacts.recovered.values()
        artifacts.recovered = {"random-2-lora": {**one, "name": "lora"}}
    ll.merge_runs([run, other], tmp_path / "merged")
    assert (tmp_path / "merged" / "models" / "random-1-full" / "config.json").is_file()
    with Store(tmp_path / "merged") as store:
        assert set(Artifacts(store).recovered) == {"random-1-full", "random-2-lora"}


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"base_fingerprint": "other"}, "another model: model (fingerprint), not model (other)"),
    ({"dtype": "bfloat16"}, "another dtype: float32, not bfloat16"),
    ({"batch_size": 8}, "another batch size: 64, not 8"),
    ({"config": {"seed": 1}}, "they differ in seed"),
    ({"config": {"seed": 0, "recovery": {"items": 5}}}, "they differ in recovery.items"),
]


@pytest.mark.parametrize(("changes", "words"), CHANGES, ids=[words for _, words in CHANGES])
def test_other_studies_are_refused(
    changes: dict[str, Any], words: str, run: Path, tmp_path: Path, refused: Refused
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    with Store(other) as store:
        artifacts = Artifacts(store)
        artifacts.manifest = {**artifacts.manifest, **changes}  # type: ignore[typeddict-item]  # any setting
    message = refused("merge", run, other, "--out", tmp_path / "merged")
    assert f"{other} and {run} do not belong together" in message
    assert words in message
    assert "fix: merge only run folders of the same model and settings" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run"]


def test_what_cannot_be_merged(run: Path, tmp_path: Path, refused: Refused) -> None:
    assert "is not a run folder" in refused("merge", run, tmp_path, "--out", tmp_path / "merged")
    assert "a run folder is given twice" in refused("merge", run, run / ".", "--out", tmp_path / "merged")
    assert "already exists and is not empty" in refused("merge", run, "--out", run)
    assert "is in the run folder" in refused("merge", run, "--out", run / "merged")
    with pytest.raises(UserError, match="no run folder to merge is given"):
        ll.merge_runs([], tmp_path / "merged")


def test_parquet_and_back_is_without_loss(run: Path, tmp_path: Path, says: Callable[..., Any]) -> None:
    exported = says("export", run, "--parquet", "--out", tmp_path / "tables")
    assert exported["responses"] == STORED
    assert exported["whole"] is True
    assert sorted(file.stem for file in (tmp_path / "tables").iterdir()) == sorted(schema.TABLES)
    frame = pq.read_table(tmp_path / "tables" / "verdicts.parquet").to_pandas()
    assert frame.value.sum() == 3 * (19 + 4 + 5 + 6 + 12 + 18 + 9)
    says("import", tmp_path / "tables", "--out", tmp_path / "back")
    assert rows(tmp_path / "back") == rows(run)
    assert ll.verify_run(tmp_path / "back").sound
    ll.export_run(tmp_path / "back", tmp_path / "again", parquet=True)
    for table in schema.TABLES:
        first, second = (pq.read_table(tmp_path / name / f"{table}.parquet") for name in ("tables", "again"))
        assert first.equals(second)


def test_many_rows_are_carried_in_parts(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.evaluation import parquet

    monkeypatch.setattr(parquet, "_BATCH", 7)
    ll.export_run(run, tmp_path / "tables", parquet=True)
    assert pq.ParquetFile(tmp_path / "tables" / "responses.parquet").num_row_groups == STORED // 7
    ll.import_run(tmp_path / "tables", tmp_path / "back")
    assert rows(tmp_path / "back") == rows(run)


def _without_rows(table: pa.Table) -> pa.Table:
    return table.slice(0, table.num_rows - 1)


def _altered(table: pa.Table) -> pa.Table:
    texts = table.column("text").to_pylist()
    return table.set_column(7, "text", [["other", *texts[1:]]])


def _renamed(table: pa.Table) -> pa.Table:
    return table.rename_columns([*table.column_names[:-1], "hash"])


def _newer(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({b"layerlimits": b"9.9", b"schema": b"9", b"rows": b"420"})


BROKEN: list[tuple[Callable[[pa.Table], pa.Table], str]] = [
    (_without_rows, "has 419 different rows, not 420"),
    (_altered, "was altered: row 1 does not match its hash"),
    (_renamed, "is not a table of a run folder"),
    (_newer, r"was written by layerlimits 9.9 (schema 9, expected 4)"),
]


@pytest.mark.parametrize(("broken", "words"), BROKEN, ids=[words for _, words in BROKEN])
def test_broken_parquet_files_are_refused(
    broken: Callable[[pa.Table], pa.Table], words: str, run: Path, tmp_path: Path, refused: Refused
) -> None:
    ll.export_run(run, tmp_path / "tables", parquet=True)
    file = tmp_path / "tables" / "responses.parquet"
    pq.write_table(broken(pq.read_table(file)), file)
    message = refused("import", tmp_path / "tables", "--out", tmp_path / "back")
    assert f"{file} {words}" in message
    assert not (tmp_path / "back").exists()


def test_torn_and_missing_parquet_files_are_refused(run: Path, tmp_path: Path, refused: Refused) -> None:
    ll.export_run(run, tmp_path / "tables", parquet=True)
    file = tmp_path / "tables" / "verdicts.parquet"
    content = file.read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 1):
        file.write_bytes(content[:size])
        assert f"{file} is damaged: " in refused("import", tmp_path / "tables", "--out", tmp_path / "back")
    file.unlink()
    assert f"{file} is missing" in refused("import", tmp_path / "tables", "--out", tmp_path / "back")
    assert "already exists and is not empty" in refused("export", run, "--parquet", "--out", tmp_path / "tables")
