"""`diagnose` on the run folders of `sweep` and `evaluate`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import layerlimits as ll
from layerlimits.api.opening import open_evaluator
from layerlimits.evaluation.options import AskOptions


def test_a_sweep_can_be_diagnosed(says: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "sweep"
    says("sweep", tiny, "--tasks", "arithmetic,facts_choice", "--limit", 4, "--layers", "1,3", "--out", out)
    rows = says("diagnose", out)
    assert {row["diagnostic"] for row in rows} == {
        "accumulation",
        "arithmetic",
        "brackets",
        "code_outcomes",
        "cost",
        "degeneration",
        "flips",
        "protocol",
        "sensitivity",
    }
    assert {"without layer 1", "without layer 3"} <= {row["model"] for row in rows if row["estimate"] is not None}
    assert ll.verify_run(out).sound
    # Further tasks and layers are added; the answers of an earlier call stay part of it.
    says("sweep", tiny, "--tasks", "word_problems", "--limit", 4, "--layers", "2", "--out", out)
    rows = says("diagnose", out, "--only", "accumulation,degeneration,protocol,arithmetic")
    assert {"arithmetic", "word_problems"} <= {row["task"] for row in rows}


def test_an_evaluation_has_one_model(says: Callable[..., Any], tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "evaluation"
    says("evaluate", tiny, "--tasks", "arithmetic", "--limit", 4, "--out", out)
    rows = says("diagnose", out)
    assert {row["model"] for row in rows if row["estimate"] is not None} == {"base"}
    assert any(row["sentence"].startswith("not measurable: ") for row in rows)


def test_a_folder_without_answers_is_refused(refused: Callable[..., str], tiny: Path, tmp_path: Path) -> None:
    with open_evaluator(str(tiny), AskOptions(), seed=0, out=tmp_path / "empty"):
        pass
    said = refused("diagnose", tmp_path / "empty")
    assert "has no answers to tasks" in said
    assert "that of `sweep` or `evaluate` (--out)" in said
    assert "is not a run folder" in refused("diagnose", tmp_path / "nothing")
    assert "unknown diagnostic" in refused("diagnose", tmp_path / "empty", "--only", "moods")
