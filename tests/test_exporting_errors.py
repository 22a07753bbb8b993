"""Files that are no exports, and places that hold something else: one clear error, and nothing is left behind."""

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import change, lines
from stored_runs import finished_study

import layerlimits as ll
from layerlimits.errors import UserError
from layerlimits.evaluation import exchange
from layerlimits.evaluation.store import Store

Refused = Callable[..., str]
Lines = list[dict[str, Any]]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The run folder of a finished study."""
    finished_study(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def file(run: Path, tmp_path: Path) -> Path:
    """Its export."""
    ll.export_run(run, tmp_path / "study.layerlimits.gz")
    return tmp_path / "study.layerlimits.gz"


def full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def importing(file: Path, refused: Refused) -> str:
    """What importing a file says, which must fail and leave nothing."""
    before = sorted(file.parent.iterdir())
    said = refused("import", file, "--out", file.parent / "deep" / "imported")
    assert sorted(file.parent.iterdir()) == before
    return said


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"some text",
        b"PK\x03\x04",
        gzip.compress(b"", mtime=0),
        gzip.compress(b"some text\n", mtime=0),
        gzip.compress(b'{"index": 0, "response": "7"}\n', mtime=0),
        gzip.compress(b'["layerlimits run"]\n', mtime=0),
        gzip.compress(b"[" * 70_000, mtime=0),
        gzip.compress(b"\xff\xfe\n", mtime=0),
    ],
)
def test_a_file_that_is_no_export(content: bytes, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file.gz").write_bytes(content)
    said = importing(tmp_path / "file.gz", refused)
    assert "file.gz is not an export of layerlimits" in said
    assert "give a file that `layerlimits export` wrote" in said


def test_a_file_that_is_missing_or_not_regular(tmp_path: Path, refused: Refused) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, words in (("gone", "does not exist"), ("pipe", "not a regular file"), ("folder", "not a regular file")):
        assert words in importing(tmp_path / name, refused)


def test_a_truncated_file(file: Path, refused: Refused) -> None:
    whole = file.read_bytes()
    for size in (5, 40, len(whole) // 2, len(whole) - 9, len(whole) - 1):
        file.write_bytes(whole[:size])
        said = importing(file, refused)
        assert "is truncated" in said
        assert "copy the file again, or export the run again" in said
    header, *_ = gzip.decompress(whole).splitlines(keepends=True)
    file.write_bytes(gzip.compress(header))
    assert "is truncated: it has 0 of " in importing(file, refused)
    # Cut between two rows and compressed again.
    file.write_bytes(whole)
    change(file, lambda values: values.pop(), signed=False)
    assert "is truncated: it has " in importing(file, refused)


def test_a_damaged_file(file: Path, refused: Refused) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
    assert "is damaged: CRC check failed" in importing(file, refused)
    file.write_bytes(whole + b"more")
    assert "is damaged" in importing(file, refused)
    file.write_bytes(whole)
    ll.import_run(file, file.parent / "imported")


def answer(values: Lines) -> dict[str, Any]:
    row: dict[str, Any] = next(row for row in values if row.get("kind") == "responses")
    return row


def test_an_altered_file(file: Path, refused: Refused) -> None:
    def better(values: Lines) -> None:
        answer(values)["verdict"]["value"] = 0.5

    change(file, better, signed=False)
    said = importing(file, refused)
    assert "was altered: its content has the SHA-256 " in said
    assert "copy the file again, or export the run again" in said


def test_more_rows_than_counted(file: Path, refused: Refused) -> None:
    change(file, lambda values: values.append(values[-1]), signed=False)
    assert "was altered" in importing(file, refused)


@pytest.mark.parametrize(
    ("versions", "words", "fix"),
    [
        ({"version": 2}, "by a newer version of layerlimits, layerlimits 9.9 (schema 2.4", "update layerlimits to"),
        ({"tables": 5}, "by a newer version of layerlimits, layerlimits 9.9 (schema 1.5", "update layerlimits to"),
        (
            {"tables": 2},
            "by an older version of layerlimits, layerlimits 9.9 (schema 1.2",
            "import it with that version",
        ),
        ({"version": 0, "tables": 3}, "by an older version", "import it with that version"),
        ({"version": None}, "version and tables are not integers", "export the run again"),
    ],
)
def test_a_file_of_another_version(
    versions: dict[str, Any], words: str, fix: str, file: Path, refused: Refused
) -> None:
    change(file, lambda values: values[0].update(made_by="layerlimits 9.9", **versions))
    said = importing(file, refused)
    assert words in said
    assert fix in said


def artifact(values: Lines, name: str) -> dict[str, Any]:
    return next(row for row in values if row.get("name") == name)


WRONG: dict[str, tuple[Callable[[Lines], object], str]] = {
    "a header with another key": (lambda values: values[0].update(more=1), "line 1: more"),
    "a hash that is none": (lambda values: values[0].update(made_by=["x"]), "line 1: made_by"),
    "another kind": (lambda values: values[1].update(kind="samples"), "line 2: "),
    "another key": (lambda values: answer(values).update(path="/etc/passwd"), "path: Extra inputs"),
    "a key without a model": (lambda values: answer(values)["key"].pop("model"), "key.model: "),
    "a version that is a text": (lambda values: answer(values)["key"].update(version="1"), "key.version: "),
    "a version out of range": (lambda values: answer(values)["key"].update(version=1 << 70), "out of range"),
    "a text that is a number": (lambda values: answer(values)["response"].update(text=3), "response.text: "),
    "tokens that are texts": (lambda values: answer(values)["response"].update(tokens=["a"]), "response.tokens.0: "),
    "another reason to end": (lambda values: answer(values)["response"].update(finish="tired"), "response.finish: "),
    "another outcome": (lambda values: answer(values)["verdict"].update(outcome="great"), "verdict.outcome: "),
    "a value that is no number": (lambda values: answer(values)["verdict"].update(value=None), "verdict.value: "),
    "a value that is infinite": (lambda values: answer(values)["verdict"].update(value=1e999), "is not finite"),
    "measures that are texts": (lambda values: answer(values)["verdict"].update(measures={"a": "b"}), "measures"),
    "an artifact of another name": (lambda values: artifact(values, "plans").update(name="../x"), "'../x' is not"),
    "a cached text": (
        lambda values: artifact(values, "plans").update(name="once 0123456789abcdef", content=["a"]),
        "'once 0123456789abcdef' is not",
    ),
    "plans that are none": (lambda values: artifact(values, "plans").update(content=[{"method": 1}]), "0.method: "),
    "a manifest without a model": (lambda values: artifact(values, "manifest")["content"].pop("model"), "model: "),
    "no manifest": (lambda values: values.remove(artifact(values, "manifest")), "does not name the model of the run"),
    "settings of other types": (
        lambda values: artifact(values, "manifest")["content"]["config"].update(limit="many", seed=[1]),
        "the settings in",
    ),
    "settings without a preset": (
        lambda values: artifact(values, "manifest")["content"]["config"].pop("preset"),
        "preset: Field required",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_every_field_is_checked(what: str, file: Path, refused: Refused) -> None:
    changed, words = WRONG[what]
    change(file, changed)
    said = importing(file, refused)
    assert str(file) in said
    assert words in said


def test_a_row_that_is_not_json_or_too_long(file: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    for line in (b"{\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"kind": "models", "path": "\\ud800"}\n'):
        file.write_bytes(gzip.compress(b"".join([whole[0], line, *whole[1:]])))
        assert "line 2: " in importing(file, refused)
    file.write_bytes(gzip.compress(b"".join(whole)))
    monkeypatch.setattr(exchange, "LONGEST_LINE_BYTES", 1 << 10)
    change(file, lambda values: answer(values)["response"].update(text="a" * 2000))
    assert " is longer than " in importing(file, refused)


def test_responses_are_stored_in_batches(file: Path, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "_BATCH", 7)
    sizes: list[int] = []
    add = Store.add

    def watched(self: Store, answered: Any, scorer: int = 1) -> None:
        sizes.append(len(answered))
        add(self, answered, scorer)

    monkeypatch.setattr(Store, "add", watched)
    ll.import_run(file, file.parent / "imported")
    with Store(run) as store:
        assert sum(sizes) == len(list(store.answered())) > 100
    assert max(sizes) == 7


def test_a_folder_that_holds_a_run_or_files_is_left_alone(file: Path, run: Path, refused: Refused) -> None:
    other = file.parent / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("all of it")
    for out in (run, other, other / "thesis.txt"):
        said = refused("import", file, "--out", out)
        assert f"{out} already exists and is not empty" in said
        assert "--out" in said
    assert (other / "thesis.txt").read_text() == "all of it"
    assert ll.open_run(run).pruned
    (other / "thesis.txt").unlink()
    ll.import_run(file, other)
    assert ll.open_run(other).pruned == ll.open_run(run).pruned


def test_an_import_that_fails_in_the_middle_leaves_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("layerlimits.api.carrying.write_copy", full_disk)
    before = sorted(file.parent.iterdir())
    with pytest.raises(UserError, match=r"failed to write .*No space left on device"):
        ll.import_run(file, file.parent / "new" / "run")
    assert sorted(file.parent.iterdir()) == before


def test_a_folder_that_is_no_run(tmp_path: Path, refused: Refused) -> None:
    for folder in (tmp_path, tmp_path / "gone"):
        said = refused("export", folder, "--out", tmp_path / "file.gz")
        assert f"{folder} is not a run folder: it has no run.sqlite" in said
    Store(tmp_path / "empty").close()
    assert "contains no run yet" in refused("export", tmp_path / "empty", "--out", tmp_path / "file.gz")
    assert not (tmp_path / "file.gz").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("thesis.txt", "exists and is not an export of layerlimits"),
        ("data.jsonl.gz", "exists and is not an export of layerlimits"),
        ("link.gz", "exists and is not an export of layerlimits"),
        ("run/run.sqlite", "exists and is not an export of layerlimits"),
        ("run/run.sqlite-journal", "must end in .gz"),
        ("run", "is a folder"),
        ("thesis.txt/study.gz", "is a file"),
    ],
)
def test_an_export_replaces_nothing_else(name: str, words: str, run: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    (tmp_path / "data.jsonl.gz").write_bytes(gzip.compress(b'{"question": "?"}\n', mtime=0))
    (tmp_path / "link.gz").symlink_to("thesis.txt")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert words in refused("export", run, "--out", tmp_path / name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    assert ll.open_run(run).pruned


def test_an_older_export_is_replaced_and_a_failed_one_leaves_it(
    file: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(file, lambda values: values[0].update(version=7, made_by="layerlimits 9.9"))
    old = file.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(exchange, "copyfileobj", full_disk)
        with pytest.raises(UserError, match="No space left"):
            ll.export_run(run, file)
    assert file.read_bytes() == old
    assert sorted(path.name for path in file.parent.iterdir()) == ["run", file.name]
    ll.export_run(run, file)
    assert lines(file)[0]["version"] == 1
    ll.import_run(file, file.parent / "new")


def test_a_damaged_database_is_refused(run: Path, tmp_path: Path, refused: Refused) -> None:
    damaged = Path(shutil.copytree(run, tmp_path / "damaged"))
    content = bytearray((damaged / "run.sqlite").read_bytes())
    content[4096:] = b"\x00" * (len(content) - 4096)
    (damaged / "run.sqlite").write_bytes(content)
    said = refused("export", damaged, "--out", tmp_path / "file.gz")
    assert str(damaged) in said
    assert not (tmp_path / "file.gz").exists()
