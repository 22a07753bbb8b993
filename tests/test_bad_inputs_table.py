"""Some 250 bad inputs, each of which ends in one message with a fix and exit status 2: no traceback, no output."""

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bad_data import DATA
from bad_flags import FLAGS
from bad_models import MODELS, Content
from small_models import saved, small_llama

Refused = Callable[..., str]

EVALUATE = ("--tasks", "facts_choice,arithmetic", "--limit", 2, "--max-new-tokens", 2)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reaches the Hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one layer fewer than `tiny`."""
    return saved(small_llama(5), tmp_path_factory.mktemp("five") / "model")


def _filled(text: str, tiny: Path, folder: Path) -> list[str]:
    return shlex.split(text.replace("{m}", str(tiny)).replace("{t}", str(folder)))


def test_there_are_enough() -> None:
    assert len(FLAGS) + len(MODELS) + len(DATA) >= 120
    for table in (FLAGS, MODELS, DATA):
        assert len({row[0] for row in table}) == len(table)
        assert all(row[-1] for row in table)


@pytest.mark.parametrize(("arguments", "words"), [row[1:] for row in FLAGS], ids=[row[0] for row in FLAGS])
def test_bad_flags(arguments: str, words: str, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    assert words in refused(*_filled(arguments, tiny, tmp_path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("file", "content", "words"), [row[1:] for row in MODELS], ids=[row[0] for row in MODELS])
def test_bad_models(file: str, content: Content, words: str, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    path = folder / file
    if callable(content):
        content(path)
    elif isinstance(content, dict):
        path.write_text(json.dumps(json.loads(path.read_text()) | content))
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused("evaluate", folder, *EVALUATE)
    assert words in said.replace(str(folder), "M")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("file", "content", "arguments", "words"), [row[1:] for row in DATA], ids=[row[0] for row in DATA]
)
def test_bad_files(
    file: str,
    content: str | bytes,
    arguments: str,
    words: str,
    refused: Refused,
    tiny: Path,
    five: Path,
    tmp_path: Path,
) -> None:
    if file.startswith("pruned/"):
        shutil.copytree(five, tmp_path / "pruned")
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    said = refused(*_filled(arguments, tiny, tmp_path))
    assert words in said.replace(str(tmp_path), "T")
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("TMPDIR", "/nowhere", ""),
        ("XDG_CACHE_HOME", "/dev/null", ""),
        ("COLUMNS", "wide", ""),
        ("HF_HOME", "/dev/null", ""),
        ("HOME", "/nowhere", ""),
    ],
)
def test_odd_environments_change_no_message(
    variable: str, value: str, words: str, refused: Refused, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(variable, value)
    assert "no such folder" in refused("evaluate", tmp_path / "gone")
