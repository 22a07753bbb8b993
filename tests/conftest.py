"""One thread a process, and a small random model with the reference tokenizer, made once a session."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import real_models  # noqa: F401  # read before the cache folder changes
import torch
from harness_tasks import write_rows
from small_models import saved, small_llama

from layerlimits.cli import main
from layerlimits.evaluation.calibration import calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context
from layerlimits.models.load import Loaded, load
from layerlimits.tasks import choose

torch.set_num_threads(1)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the test session, for commands that tests start as well."""
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real benchmark items, which is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"needs the benchmark items of {DATA}, which are not part of the repository")
    return DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untaught Llama of 6 layers with a licence beside it."""
    folder = saved(small_llama(6), tmp_path_factory.mktemp("tiny") / "model")
    (folder / "LICENSE").write_text("The licence of the base model.\n")
    return folder


@pytest.fixture(scope="session")
def foreign(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a tokenizer file other than that of the bundled model."""
    folder = tmp_path_factory.mktemp("foreign") / "model"
    shutil.copytree(tiny, folder)
    file = folder / "tokenizer.json"
    file.write_text(file.read_text() + "\n")
    return folder


@pytest.fixture(scope="session")
def benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of two benchmarks of both classes, with items of our own."""
    folder = tmp_path_factory.mktemp("benchmarks")
    sums = [{"question": f"What is {n} plus {n + 2}?", "answer": f"It is #### {2 * n + 2}"} for n in range(300)]
    write_rows(folder / "gsm8k" / "test.jsonl", sums[:60])
    write_rows(folder / "gsm8k" / "train.jsonl", sums[60:])
    choices = [
        {
            "question": f"Which number follows {n}?",
            "choices": {"text": [str(n + 1), str(n + 3), str(n + 5), str(n + 7)], "label": ["A", "B", "C", "D"]},
            "answerKey": "A",
        }
        for n in range(200)
    ]
    write_rows(folder / "arc_easy" / "test.jsonl", choices)
    return folder


@pytest.fixture
def loaded(tiny: Path) -> Loaded:
    """That model in memory, a fresh one each time: tests may change it."""
    return load(str(tiny), device="cpu")


@pytest.fixture
def context(loaded: Loaded, tmp_path: Path) -> Context:
    """What a method gets to remove 3 layers of that model."""
    text = calibration(loaded.tokenizer, 24)
    tasks = tuple(choose(["facts_choice", "inference_choice"]))
    return Context(Evaluator(loaded, Store(tmp_path / "run")), 3, text, tasks, 32)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command with --json, which must succeed; returns the JSON that is all of stdout."""

    def call(*arguments: object) -> Any:
        monkeypatch.setattr(sys, "argv", ["layerlimits", *map(str, arguments), "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command line, which must refuse; returns what it says."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["layerlimits", *map(str, arguments)])
        # What the test itself had said, such as transformers' bar over the files it saved.
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert ended.value.code == 2
        assert said.out == ""
        assert "Traceback" not in said.err
        assert said.err.startswith("error: ")
        assert len(re.findall("^error: ", said.err, re.MULTILINE)) == 1
        assert "\n  fix: " in said.err
        return said.err

    return run


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the command line; returns its exit status."""

    def run(*arguments: object) -> int:
        monkeypatch.setattr(sys, "argv", ["layerlimits", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0)

    return run


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """Six layers in one file."""
    small_llama(6).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"
