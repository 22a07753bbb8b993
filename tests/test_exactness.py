"""The benchmark that compares the sweep engine with stock generation in each number type."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from layerlimits.models.load import Loaded
from layerlimits.types import Response


@pytest.fixture(scope="module")
def exactness() -> ModuleType:
    """bench/exactness.py as a module."""
    file = Path(__file__).resolve().parents[1] / "bench" / "exactness.py"
    spec = importlib.util.spec_from_file_location("exactness", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules["exactness"] = module
    spec.loader.exec_module(module)
    return module


def test_the_tiny_model_in_both_types(exactness: ModuleType, tiny: Path, benchmarks: Path, tmp_path: Path) -> None:
    out = tmp_path / "exactness.json"
    flags = f"--variants 2 --prompts 3 --new-tokens 8 --data-dir {benchmarks} --out {out}".split()
    for _ in range(2):
        exactness.main([str(tiny), *flags])
    rows = json.loads(out.read_text())
    # The second run replaces the rows of the first.
    assert [row["dtype"] for row in rows] == ["float32", "bfloat16"]
    for row in rows:
        assert (row["variants"], row["prompts"], row["new_tokens"]) == (2, 3, 8)
        for name in ("sweep", "padded_batch"):
            seen = row[name]
            assert seen["answers"] == 6
            assert seen["tokens"] <= 6 * 8
            assert seen["ties"] <= seen["different_answers"] <= seen["different_tokens"] <= seen["tokens"]
            assert (seen["largest_gap"] > 0) <= (seen["different_answers"] > 0)
    # In float32 only ties differ.
    assert rows[0]["sweep"]["ties"] == rows[0]["sweep"]["different_answers"]


def test_differences_are_counted(exactness: ModuleType, loaded: Loaded) -> None:
    seen, stock = exactness.Differences(), Response("", (5, 6, 7, 8), "length")
    others = [stock, replace(stock, tokens=(5, 9, 7, 9)), replace(stock, tokens=(5, 6), finish="stop")]
    for other in others:
        seen.add(loaded.model, {2}, [1, 280], stock, other)
    assert (seen.answers, seen.different_answers) == (3, 2)
    # Two tokens of the second answer; of the third the end in place of a token, and a missing one.
    assert (seen.tokens, seen.different_tokens) == (12, 2 + 2)
    assert seen.ties == 0
    assert seen.largest_gap > exactness.TIE
