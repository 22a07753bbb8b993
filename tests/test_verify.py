"""The record of a run: hashes of every row, the previous schema, and what is said of damages."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stored_runs import STORED, finished_study, to_schema_3

import layerlimits as ll
from layerlimits.errors import StorageError, UserError
from layerlimits.evaluation import database, schema
from layerlimits.evaluation.store import Key, Store
from layerlimits.results.record import VerifyResults

Refused = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run folder of a finished study."""
    finished_study(tmp_path / "run")
    return tmp_path / "run"


def change(run: Path, *queries: str) -> None:
    """Change the database as another program would."""
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        for query in queries:
            connection.execute(query)
        connection.commit()


def verified(run: Path) -> VerifyResults:
    """The results; verifying changes nothing."""
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    results = ll.verify_run(run)
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    return results


def test_a_sound_record_is_sound(run: Path, capsys: pytest.CaptureFixture[str], exits: Callable[..., int]) -> None:
    results = verified(run)
    assert results.sound
    assert results.rows["responses"] == results.rows["verdicts"] == STORED
    assert exits("verify", run) == 0
    assert capsys.readouterr().out.startswith(f"{run} is sound: 60 samples, {STORED} responses, {STORED} verdicts")


DAMAGES = [
    ("UPDATE responses SET text = text || '.' WHERE rowid = 7", "responses", "altered: the content does not match", 1),
    ("UPDATE responses SET tokens = '[1, 3]' WHERE rowid < 4", "responses", "altered: the content does not match", 3),
    ("UPDATE responses SET logprobs = '[0.5]' WHERE rowid = 7", "responses", "altered: the content does not match", 1),
    ("UPDATE verdicts SET value = 0.5 WHERE rowid = 9", "verdicts", "altered: the content does not match", 1),
    ("UPDATE samples SET content = '{}' WHERE rowid = 9", "samples", "altered: the content does not match", 1),
    ("UPDATE artifacts SET content = '[]' WHERE name = 'plans'", "artifacts", "altered: the content does not match", 1),
    ("UPDATE responses SET text = CAST(x'ff41' AS TEXT) WHERE rowid = 7", "responses", "altered", 1),
    ("UPDATE responses SET tokens = NULL WHERE rowid = 7", "responses", "altered: the content does not match", 1),
    ("DELETE FROM verdicts WHERE rowid = 9", "responses", "torn: without a sound row in verdicts", 1),
    ("DELETE FROM responses WHERE rowid < 6", "verdicts", "torn: without a sound row in responses", 5),
    ("UPDATE responses SET digest = NULL WHERE rowid = 7", "responses", "foreign: written without a hash", 1),
    ("INSERT INTO models VALUES ('x', '{}', NULL)", "models", "foreign: written without a hash", 1),
]


@pytest.mark.parametrize(("query", "table", "problem", "count"), DAMAGES, ids=[damage[0][:50] for damage in DAMAGES])
def test_damages_are_found(query: str, table: str, problem: str, count: int, run: Path) -> None:
    change(run, query)
    found = {damage.table: damage for damage in verified(run).damages if damage.problem.startswith(problem)}
    assert found[table].count == count


def test_rows_of_another_run_are_foreign(run: Path) -> None:
    key = Key("another model", "facts@free", 1, "0", "p0", "greedy", "E")
    with Store(run) as store:
        store.add_rows("responses", [(*key, "7", "[1]", "stop", "[]")])
        store.add_rows("verdicts", [(*key, "correct", 1.0, "7", "", None, "{}", 1)])
    assert {(damage.table, damage.problem, damage.count) for damage in verified(run).damages} == {
        ("responses", "foreign: of a model that is not one of this run", 1),
        ("verdicts", "foreign: of a model that is not one of this run", 1),
    }


def test_values_that_no_version_writes_are_invalid(run: Path) -> None:
    key = Key("fingerprint", "facts@free", 1, "0", "p0", "greedy", "F")
    with Store(run) as store:
        store.add_rows("responses", [(*key, "7", "[1.5]", "stop", "[]"), (*key[:6], "G", "7", "[1]", "end", "[]")])
        store.put("unknown", 1)
        store.put("stages", {"base": "soon"})
    problems = {damage.problem for damage in verified(run).damages}
    assert "invalid: tokens are not a list of integers" in problems
    assert "invalid: finish is 'end'" in problems
    assert "invalid: 'unknown' is not a value of a run folder" in problems
    assert any(problem.startswith("invalid: base: Input should be a valid number") for problem in problems)


def test_a_damaged_record_says_what_can_be_kept(
    run: Path, exits: Callable[..., int], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    change(run, "UPDATE responses SET text = 'x' WHERE rowid < 4")
    assert exits("verify", run) == 1
    said = capsys.readouterr().out
    assert f"{run} is damaged:\n" in said
    assert "responses: 3 altered: the content does not match its hash, such as " in said
    assert f"Sound and readable: 60 samples, {STORED - 3} responses, {STORED - 3} verdicts" in said
    assert f"fix: `layerlimits merge {run} --out NEW` keeps these rows" in said
    assert exits("verify", run, "--json") == 1
    assert json.loads(capsys.readouterr().out)["sound"] is False
    merged = ll.merge_runs([run], tmp_path / "new")
    assert (merged.responses, merged.dropped, merged.conflicts) == (STORED - 3, 3, 0)


def test_what_is_no_run_folder_has_status_2(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "other").mkdir()
    assert "is not a run folder: it has no run.sqlite" in refused("verify", tmp_path / "other")
    assert "is not a run folder" in refused("verify", tmp_path / "nothing")
    (tmp_path / "other" / "run.sqlite").mkdir()
    assert "run.sqlite" in refused("verify", tmp_path / "other")


def test_a_database_of_another_program_is_untouched(tmp_path: Path, refused: Refused) -> None:
    file = tmp_path / "run.sqlite"
    for version in (0, 2, 3, schema.VERSION):
        file.unlink(missing_ok=True)
        change(
            tmp_path, "CREATE TABLE birds (name)", "INSERT INTO birds VALUES ('wren')", f"PRAGMA user_version={version}"
        )
        before = file.read_bytes()
        for command in (["evaluate", "reference", "--out"], ["study", "reference", "--out"], ["report"], ["verify"]):
            message = refused(*command, tmp_path)
            assert f"{file} is a database of another program (tables: birds), not of layerlimits" in message
        assert file.read_bytes() == before
        assert [path.name for path in tmp_path.iterdir()] == ["run.sqlite"]


def test_the_previous_schema_is_migrated_without_loss(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Store(run) as store:
        store.add_begun({Key("m", "t", 1, "s", "p", "greedy", "E"): [1, 2]})
        rows = {table: list(store.rows(table)) for table in schema.TABLES}
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        to_schema_3(connection)
    before = (run / "run.sqlite").read_bytes()
    results = ll.open_run(run)
    assert verified(run).notes == (
        "The folder has schema 3, without hashes; the next command that writes to it adds them.",
    )
    assert verified(run).sound
    assert (run / "run.sqlite").read_bytes() == before
    with Store(run) as store:
        assert {table: list(store.rows(table)) for table in schema.TABLES} == rows
    assert f"note: {run} was migrated from schema 3 to 4" in capsys.readouterr().err
    assert verified(run).sound
    assert not verified(run).notes
    assert {**vars(ll.open_run(run)), "created": ""} == {**vars(results), "created": ""}
    change(run, "UPDATE responses SET text = 'x' WHERE rowid = 1")
    assert not verified(run).sound


def test_an_interrupted_migration_changes_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        to_schema_3(connection)
    digest, calls = schema.digest, 0

    def interrupted(table: str, values: Any) -> str:
        nonlocal calls
        calls += 1
        if calls > 100:
            raise KeyboardInterrupt
        return digest(table, values)

    with monkeypatch.context() as patched:
        patched.setattr(schema, "digest", interrupted)
        with pytest.raises((KeyboardInterrupt, sqlite3.Error)):
            Store(run)
    assert database.inspect(run / "run.sqlite") == 3
    with Store(run):
        pass
    assert database.inspect(run / "run.sqlite") == schema.VERSION
    assert verified(run).sound


def test_newer_versions_are_refused(run: Path) -> None:
    change(run, "PRAGMA user_version=5")
    for opened in (lambda: Store(run), lambda: Store(run, read_only=True), lambda: ll.verify_run(run)):
        with pytest.raises(UserError, match=r"\(schema 5, expected 4\)") as error:
            opened()
        assert error.value.fix.startswith("update layerlimits, or choose another run folder")


@pytest.mark.parametrize("query", ["ALTER TABLE responses DROP COLUMN logprobs", "DROP TABLE verdicts"])
def test_a_missing_column_or_table_names_verify(query: str, run: Path, refused: Refused) -> None:
    change(run, query)
    message = refused("report", run)
    assert f"{run}/run.sqlite is damaged: the table" in message
    assert f"fix: `layerlimits verify {run}` says what can be kept" in message
    results = verified(run)
    assert not results.sound
    assert results.rows["samples"] == 60


def damage_pages(run: Path, table: str) -> None:
    """Overwrite leaf pages in the middle of a table."""
    with closing(sqlite3.connect(run / "run.sqlite")) as connection:
        (size,) = connection.execute("PRAGMA page_size").fetchone()
        try:
            query = "SELECT pageno FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path"
            pages = [number for (number,) in connection.execute(query, (table,))]
        except sqlite3.OperationalError:
            pytest.skip("needs SQLite with dbstat, which says which page belongs to which table")
    with (run / "run.sqlite").open("r+b") as file:
        file.seek((pages[len(pages) // 2] - 1) * size)
        file.write(os.urandom(size))


def test_a_corrupted_page_leaves_the_rest_readable(run: Path, refused: Refused, tmp_path: Path) -> None:
    damage_pages(run, "responses")
    message = refused("report", run)
    assert "run.sqlite is damaged" in message
    assert "`layerlimits verify" in message
    results = verified(run)
    assert not results.sound
    kept = results.rows["responses"]
    assert 0 < kept < STORED
    merged = ll.merge_runs([run], tmp_path / "new")
    assert merged.responses >= kept
    assert ll.verify_run(tmp_path / "new").rows["models"] == 7


@pytest.mark.parametrize("size", [1, 50, 100, 5000])
def test_a_truncated_database_names_verify(size: int, run: Path, refused: Refused) -> None:
    content = (run / "run.sqlite").read_bytes()
    (run / "run.sqlite").write_bytes(content[:size])
    assert f"`layerlimits verify {run}` says what can be kept" in refused("report", run)
    assert not verified(run).sound


def test_a_database_that_is_text_is_damaged(run: Path, exits: Callable[..., int]) -> None:
    (run / "run.sqlite").write_text("not a database, but long enough to have the header of one" * 10)
    with pytest.raises(StorageError, match="file is not a database"):
        Store(run)
    assert exits("verify", run) == 1


def test_a_lost_log_is_noticed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    store = Store(run)
    finished_study(tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / "run.sqlite", tmp_path / "first")
    with Store(tmp_path / "whole", read_only=True) as whole:
        store.put("manifest", whole.get("manifest"))
        (run / "manifest.json").write_text(json.dumps(whole.get("manifest")))
        store.checkpoint()
        # Not in the database until its log is merged.
        store.put("base", whole.get("base"))
    shutil.copytree(run, tmp_path / "copy", ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    store.close()
    with Store(tmp_path / "copy", read_only=True) as copy:
        assert copy.get("manifest")
        assert not copy.get("base")
    change(tmp_path / "copy", "DELETE FROM artifacts")
    (damage,) = verified(tmp_path / "copy").damages
    assert damage.problem == "lost: the manifest, of which manifest.json is a copy"


def test_lost_answers_of_a_finished_study_are_noticed(run: Path) -> None:
    with Store(run) as store:
        store.put("finished", {"limit": 20})
    assert verified(run).sound
    change(run, *(f"DELETE FROM {table} WHERE task = 'word_problems'" for table in ("responses", "verdicts")))
    (damage,) = verified(run).damages
    assert (damage.problem, damage.count) == ("lost: answers of the unpruned model to word_problems", 20)
