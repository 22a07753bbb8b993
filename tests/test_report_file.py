"""A report overwrites nothing but an older report, and is there whole or not at all."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored_runs import finished_study

from layerlimits.api import write_report
from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.report import html

Refused = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished study with the files of a real one."""
    folder = tmp_path / "run"
    finished_study(folder)
    (folder / "manifest.json").write_text("{}\n")
    (folder / "models" / "full").mkdir(parents=True)
    (folder / "models" / "full" / "config.json").write_text("{}\n")
    return folder


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("run.sqlite", "is not a layerlimits report"),
        ("manifest.json", "is not a layerlimits report"),
        ("models/full/config.json", "is not a layerlimits report"),
        ("../run/run.sqlite", "is not a layerlimits report"),
        # Files that SQLite would take for its own.
        ("run.sqlite-journal", "must end in .html"),
        ("run.sqlite-wal", "must end in .html"),
        ("models", "is a folder"),
        (".", "is a folder"),
    ],
)
def test_a_file_of_the_run_is_not_overwritten(name: str, words: str, run: Path, refused: Refused) -> None:
    before = contents(run)
    assert words in refused("report", run, "--out", run / name)
    assert contents(run) == before
    assert write_report(run).pruned[0].score.estimate == 0.25


def test_links_to_such_are_refused(run: Path, tmp_path: Path, refused: Refused) -> None:
    before = contents(run)
    for name, target in (("a.html", run / "run.sqlite"), ("b.html", run / "run.sqlite-journal"), ("c.html", run)):
        (tmp_path / name).symlink_to(target)
        refused("report", run, "--out", tmp_path / name)
    os.link(run / "run.sqlite", tmp_path / "d.html")
    refused("report", run, "--out", tmp_path / "d.html")
    (tmp_path / "e").symlink_to(run)
    refused("report", run, "--out", tmp_path / "e" / "manifest.json")
    assert contents(run) == before


def test_another_runs_files_and_files_of_others_are_not_overwritten(
    run: Path, tmp_path: Path, refused: Refused
) -> None:
    finished_study(tmp_path / "other")
    (tmp_path / "thesis.html").write_text("<!DOCTYPE html><html><head><title>Thesis</title></head></html>")
    (tmp_path / "data.jsonl").write_text("{}\n")
    before = contents(tmp_path)
    for name in ("other/run.sqlite", "other/run.sqlite-shm", "thesis.html", "data.jsonl", "other"):
        refused("report", run, "--out", tmp_path / name)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["new.html", "new", "run/second.html", "deep/er/new.html"])
def test_a_new_file_is_written_and_written_again(
    name: str, run: Path, tmp_path: Path, says: Callable[..., Any]
) -> None:
    page = tmp_path / name
    for _ in range(2):
        printed = says("report", run, "--out", page)
        assert printed["answer"] in page.read_text().replace("&#39;", "'")
    link = tmp_path / "link.html"
    link.symlink_to(page)
    page.write_text(page.read_text().replace("</html>", "old</html>"))
    says("report", run, "--out", link)
    assert link.is_symlink()
    assert not page.read_text().endswith("old</html>")
    assert not list(tmp_path.rglob("*.partial"))


def test_a_report_that_fails_leaves_the_old_one(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_report(run)
    before = (run / "report.html").read_bytes()

    def full(self: Path, *_: object, **__: object) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UserError, match="No space left on device"):
        write_report(run)
    monkeypatch.undo()
    monkeypatch.setattr(html, "render", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(run)
    assert (run / "report.html").read_bytes() == before
    assert not list(run.glob(".*"))


def test_a_study_whose_report_has_no_place_is_refused_before_it_runs(
    tiny: Path, tmp_path: Path, refused: Refused, says: Callable[..., Any]
) -> None:
    out = tmp_path / "run"
    says("evaluate", tiny, "--tasks", "facts_choice", "--limit", 2, "--out", out)
    (out / "report.html").mkdir()
    before = stored(out)
    assert "report.html is a folder" in refused("study", tiny, "--out", out)
    (out / "report.html").rmdir()
    (out / "report.html").symlink_to(out / "run.sqlite")
    assert "is not a layerlimits report" in refused("study", tiny, "--out", out)
    (out / "report.html").unlink()
    assert stored(out) == before


def stored(run: Path) -> list[Any]:
    """All answers of a run and its manifest. The bytes of the database change with every look at it."""
    with Store(run) as store:
        return [
            *store.export(),
            (run / "manifest.json").read_text(),
            sorted(path.name for path in run.iterdir() if path.name != "report.html"),
        ]


def test_a_training_of_the_reference_model_writes_into_no_run(run: Path, tmp_path: Path, refused: Refused) -> None:
    before = contents(run)
    for out, work in ((run / "models" / "full", tmp_path / "work"), (tmp_path / "new", run), (run, tmp_path / "work")):
        assert "is in the run folder" in refused("reference", "train", "--out", out, "--work", work)
    assert contents(run) == before
    assert not (tmp_path / "work").exists()
