"""Programs of many responses judged at once, and the command `score` with and without a sandbox. About 2 s."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from programs import need_sandbox

from layerlimits.plugins import find
from layerlimits.scoring import sandbox
from layerlimits.scoring.sandbox import Program, run
from layerlimits.tasks import judged
from layerlimits.types import Response


@pytest.mark.parametrize("name", ["humanevalplus", "mbppplus"])
def test_a_task_judges_many_at_once(name: str, real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_sandbox()
    task = find("tasks", name)
    samples = task.samples.whole(real_data)[:3]
    asked: list[int] = []

    def counted(programs: Sequence[Program], **how: Any) -> list[sandbox.Outcome]:
        asked.append(len(programs))
        return run(programs, **how)

    monkeypatch.setattr("layerlimits.scoring.code.run", counted)
    said = [(samples[0], samples[0].shown), (samples[1], samples[2].shown), (samples[2], samples[2].shown)]
    answered = [(sample, Response(text, (1,), "stop")) for sample, text in said]
    verdicts = judged(task, answered)
    assert [verdict.value for verdict in verdicts] == [1, 0, 1]
    assert asked == [3]
    assert task.score(*answered[0]) == verdicts[0]


def _score_files(folder: Path) -> tuple[Path, Path]:
    """A data folder with two items of HumanEval+ in its form, and a right and a wrong answer."""
    rows = [
        {
            "prompt": f'def f{n}(x):\n    """Add {n}."""\n',
            "entry_point": f"f{n}",
            "canonical_solution": f"    return x + {n}\n",
            "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n",
        }
        for n in (1, 2)
    ]
    answers = [{"index": n, "response": f"```python\ndef f{n + 1}(x):\n    return x + 1\n```"} for n in (0, 1)]
    for path, lines in ((folder / "humanevalplus" / "test.jsonl", rows), (folder / "answers.jsonl", answers)):
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder, folder / "answers.jsonl"


def test_score_runs_programs_in_the_sandbox(says: Callable[..., Any], tmp_path: Path) -> None:
    need_sandbox()
    data, answers = _score_files(tmp_path)
    results = says("score", "humanevalplus", answers, "--data-dir", data)
    assert (results["score"], results["n"], results["strict"]) == (0.5, 2, None)
    assert [(item["entry_point"], item["outcome"]) for item in results["items"]] == [("f1", "correct"), ("f2", "wrong")]


def test_score_goes_without_a_sandbox_only_if_told(
    says: Callable[..., Any], refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, answers = _score_files(tmp_path)
    monkeypatch.setattr(sandbox, "has_bubblewrap", lambda: False)
    monkeypatch.setattr(sandbox, "_probe", lambda kind: "not allowed")
    said = refused("score", "humanevalplus", answers, "--data-dir", data)
    assert "no sandbox is available on this machine (namespaces: not allowed)" in said
    assert "--unsafe-code" in said
    assert says("score", "humanevalplus", answers, "--data-dir", data, "--unsafe-code")["score"] == 0.5
