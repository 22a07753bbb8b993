"""Trained models of other makers, which are not part of the repository: where they lie, and how they get there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FETCH = ROOT.parent / "shared" / "models" / "fetch.py"
SMOLLM2 = "smollm2-135m-instruct"
QWEN = "qwen2.5-coder-0.5b-instruct"
GEMMA = "gemma-3-270m"


# `$LL_MODELS`, or a folder in the user's cache; tests have another cache folder, so this is read before any runs.
_CACHE = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
MODELS = Path(os.environ.get("LL_MODELS") or Path(_CACHE) / "layerlimits" / "models")


def cached(name: str) -> Path:
    """The folder of a model; skips the test if the model is not there."""
    folder = MODELS / name
    if not (folder / "config.json").is_file():
        pytest.skip(f"needs {name} in {MODELS}; `make test-real` fetches it")
    return folder


def fetched(name: str) -> Path:
    """The folder of a model, fetched first if it is not there; skips the test without the program that fetches."""
    folder = MODELS / name
    if not (folder / "config.json").is_file():
        if not FETCH.is_file():
            pytest.skip(f"needs {FETCH}, which is not part of the repository")
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, FETCH, name, folder], check=True)
    return folder
