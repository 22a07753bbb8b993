"""Paths that cannot be: each ends in one error, wherever it is given, and nothing is written."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.save import save_pruned
from layerlimits.paths import DATA_DIR, OUT, check_writable, given_path, read_toml, unfinished
from layerlimits.types import ModelRef, PrunePlan

Refused = Callable[..., str]
LONG = "n" * 300
NO_HOME = "~nosuchuser"

# Commands that write, without their --out.
WRITING: dict[str, tuple[object, ...]] = {
    "study": ("study",),
    "evaluate": ("evaluate", "--tasks", "facts", "--limit", 2),
    "prune": ("prune", "--remove", 1),
    "rank": ("rank", "--method", "reverse"),
}


def _typed(command: str, model: object) -> list[object]:
    name, *options = WRITING[command]
    return [name, model, *options]


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize("kind", ["long", "long inside", "dangling", "under dangling", "loop"])
def test_an_output_that_cannot_be_made(kind: str, command: str, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    places = {
        "long": LONG,
        "long inside": f"{LONG}/out",
        "dangling": "link",
        "under dangling": "link/out",
        "loop": "loop",
    }
    said = refused(*_typed(command, tiny), "--out", tmp_path / places[kind])
    assert "--out" in said
    assert ("File name too long" if "long" in kind else "is a broken link") in said
    assert {path.name for path in tmp_path.iterdir()} == {"link", "loop"}


@pytest.mark.parametrize("out", [".", ""])
def test_the_current_folder_is_no_place_for_a_checkpoint(
    out: str, refused: Refused, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is the current folder" in refused("prune", tiny, "--remove", 1, "--out", out)
    assert "is the current folder" in refused("recover", tiny, "--parent", tiny, "--out", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", [".", ""])
def test_the_current_folder_may_become_a_run_folder(
    out: str, says: Callable[..., object], tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    says("evaluate", tiny, "--tasks", "facts_choice", "--limit", 2, "--out", out)
    assert (tmp_path / "run.sqlite").exists()


@pytest.mark.parametrize("model", [NO_HOME, f"{NO_HOME}/model", LONG, f"./{LONG}"])
@pytest.mark.parametrize("command", WRITING)
def test_a_model_that_can_be_no_folder(command: str, model: str, refused: Refused, tmp_path: Path) -> None:
    said = refused(*_typed(command, model), "--out", tmp_path / "out")
    assert "invalid path for the model" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("study", "MODEL", "--tasks", "arithmetic", "--data-dir"),
        ("evaluate", "MODEL", "--tasks", "arithmetic", "--data-dir"),
        ("sweep", "MODEL", "--tasks", "arithmetic", "--data-dir"),
        ("rank", "MODEL", "--method", "task_score", "--tasks", "gsm8k", "--data-dir"),
        ("recover", "MODEL", "--parent", "MODEL", "--out", "OUT", "--data-dir"),
        ("score", "gsm8k", "RESPONSES", "--data-dir"),
        ("study", "MODEL", "--calibration"),
        ("rank", "MODEL", "--method", "block_influence", "--calibration"),
        ("report",),
    ],
)
def test_a_folder_or_file_whose_name_is_too_long(
    command: tuple[str, ...], refused: Refused, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"MODEL": tiny, "OUT": tmp_path / "out", "RESPONSES": tmp_path / "responses.jsonl"}
    assert "File name too long" in refused(*(places.get(word, word) for word in command), LONG)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a\0b", LONG, f"{LONG}/b", f"./{LONG}"])
def test_what_the_file_system_refuses_is_one_error(path: str) -> None:
    with pytest.raises(UserError, match=r"invalid path for the data folder \(--data-dir\)"):
        given_path(path, DATA_DIR)
    with pytest.raises(UserError, match=r"invalid path for the output folder \(--out\)"):
        check_writable(Path(path), empty=True)


def test_a_path_that_is_not_there_yet_is_fine(tmp_path: Path) -> None:
    assert given_path(tmp_path / "new", OUT) == tmp_path / "new"
    check_writable(tmp_path / "new" / "deeper", empty=True)


def test_settings_that_are_no_toml_file(tmp_path: Path) -> None:
    import os

    (tmp_path / "deep.toml").write_text("a = " + "[" * 100_000)
    (tmp_path / "digits.toml").write_text("seed = " + "1" * 5_000)
    (tmp_path / "large.toml").write_text("# " + "x" * 1_000_000)
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "pipe")
    words = {
        "deep.toml": "nested too deeply",
        "digits.toml": "is not valid TOML",
        "large.toml": "maximum 1,000,000",
        "bytes.toml": "is not UTF-8: byte 1 is 0xff",
        "pipe": "is not a regular file",
        "gone.toml": "no such file",
        ".": "is a folder",
        LONG: "File name too long",
        "gone/x": "no such file",
        "a\0b": "embedded null byte",
    }
    for name, said in words.items():
        with pytest.raises(UserError, match=said):
            read_toml(tmp_path / name)
    with pytest.raises(UserError, match="is not a regular file"):
        read_toml(Path("/dev/zero"))


def test_what_a_killed_process_left_is_removed_at_the_next_start(tiny: Path, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    host = socket.gethostname()
    dead, alive, other = (
        tmp_path / f".pruned.{name}.partial" for name in (f"{host}-{gone.pid}", f"{host}-{os.getppid()}", "elsewhere-1")
    )
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    save_pruned(tiny, ModelRef(str(tiny), "0"), PrunePlan((1,), 6), tmp_path / "pruned", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, other.name, "pruned"])
    file = tmp_path / f".run.json.{host}-{gone.pid}.partial"
    file.write_text("{")
    assert unfinished(tmp_path / "run.json") == tmp_path / f".run.json.{host}-{os.getpid()}.partial"
    assert not file.exists()
    # The longest name that file systems allow.
    unfinished(tmp_path / ("\u00e4" * 127)).write_text("")


def test_two_processes_that_prune_into_one_folder_do_not_disturb_each_other(tiny: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "layerlimits", "prune", str(tiny), "--remove", "1", "--out", str(tmp_path / "out")]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.returncode: text for process in running for _, text in [process.communicate(timeout=300)]}
    # The second one is refused at the end, or at the start if the first was faster.
    assert set(said) == {0, 2}
    assert "Traceback" not in said[2]
    assert "choose another output folder" in said[2]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert load(str(tmp_path / "out")).depth == 5
