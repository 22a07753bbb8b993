"""`recover` end to end: parent and pruned folder in, recovered folder out."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recovery_models import EXAMPLES, LEARNING, QUESTIONS, QUICK, listed, prompts, weights

from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.models.save import RECIPE, read_recipe
from layerlimits.recovery.pairing import check_pair
from layerlimits.recovery.recover import recover
from layerlimits.recovery.sources import RecoverConfig
from layerlimits.reference.tokenizer import build
from layerlimits.types import Sample

pytest_plugins = ["recovery_fixtures"]

COLOURS = listed("colours", prompts(*QUESTIONS), (Sample("else", "", "evaluate"),))


def run_recover(pruned: Path, parent: Loaded, out: Path, **changes: Any) -> dict[str, Any]:
    tasks, settings = changes.pop("tasks", [COLOURS]), changes.pop("settings", QUICK)
    on_progress = changes.pop("on_progress", None)
    config = RecoverConfig(**{"items": 6, "max_new_tokens": 5, "device": "cpu", **changes})
    return recover(str(pruned), str(parent.folder), out, tasks, settings, config, on_progress)


@pytest.mark.usefixtures("save_each_step")
def test_recover_resumes_and_leaves_only_the_model(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []

    def interrupt(stage: str, done: int, total: int) -> None:
        reports.append((stage, done, total))
        if reports[-1] == ("finetuning", 4, 10):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recover(pruned, taught, tmp_path / "out", on_progress=interrupt)
    assert [path.name for path in tmp_path.iterdir()] == [".out.run"]
    assert reports[0] == ("answering", 6, 6)
    again: list[tuple[str, int, int]] = []
    result = run_recover(
        pruned,
        taught,
        tmp_path / "out",
        on_progress=lambda *report: again.append(report),
        command="layerlimits recover",
    )
    assert again[0] == ("finetuning", 4, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert result.pop("seconds") > 0
    assert result == {
        "model": str(tmp_path / "out"),
        "parent": str(taught.folder),
        "pruned": str(pruned),
        "objective": "self",
        "examples": 5,
        "dropped": 1,
        "dropped_by_reason": {"truncated": 1},
        "trained_tokens": 4 * (4 + 5 + 5 + 5 + 5),
        "adapted": [],
        "not_adapted": [],
        "curve": [],
        "best_tokens": None,
    }
    recipe = read_recipe(tmp_path / "out") or {}
    assert (recipe["removed"], recipe["base_fingerprint"]) == ([0, 1], taught.ref.base_fingerprint)
    assert recipe["command"] == "layerlimits recover"
    run_recover(pruned, taught, tmp_path / "whole", run=tmp_path / "kept")
    assert weights(tmp_path / "whole") == weights(tmp_path / "out")
    assert (tmp_path / "kept" / "run.sqlite").exists()
    assert not (tmp_path / "kept" / "finetune").exists()


def test_the_command_asks_as_it_is_told(
    pruned: Path, taught: Loaded, tmp_path: Path, says: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[tuple[str, int]], bool | None]] = []

    def record(*given: Any) -> dict[str, Any]:
        asked.append(([(task.name, task.shots) for task in given[3]], given[5].chat))
        counts = {"examples": 1, "dropped": 0, "trained_tokens": 1, "seconds": 1.0}
        return {"model": "m", "parent": "p", "pruned": "q", **counts}

    monkeypatch.setattr("layerlimits.recovery.recover.recover", record)
    options = ("--parent", taught.folder, "--out", tmp_path / "out", "--tasks", "facts,facts_choice")
    says("recover", pruned, *options)
    says("recover", pruned, *options, "--no-chat", "--shots", 2)
    says("recover", pruned, *options, "--chat", "--tasks", "facts_choice", "--protocol", "free")
    assert asked == [
        ([("facts", 0), ("facts_choice", 0)], None),
        ([("facts:shots=2", 2), ("facts_choice:shots=2", 2)], False),
        ([("facts_choice@free", 0)], True),
    ]


def test_choices_alone_are_trained_on_as_open_questions(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    """A choice task that defines its own format, without a generation task that defines an answer length."""
    pairs = tuple((f"Question: {QUESTIONS[0]}\nAnswer:", f" {word}") for word in ("red", "blue"))
    items = [replace(sample, choices=("red", "blue"), pairs=pairs) for sample in prompts(*QUESTIONS)]
    choice = replace(listed("choice", items), kind="choice", max_new_tokens=0)
    results = run_recover(pruned, taught, tmp_path / "out", tasks=[choice], max_new_tokens=None, chat=True)
    assert (results["examples"], results["dropped"]) == (6, 0)
    recipe = read_recipe(tmp_path / "out") or {}
    assert recipe["max_new_tokens"] == 256


def test_recover_brings_answers_back(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    samples = prompts(*QUESTIONS)

    def right(loaded: Loaded) -> int:
        ids = [encode(loaded.tokenizer, sample).ids for sample in samples]
        written = TransformersEngine(loaded.model, loaded.tokenizer).generate_batch(ids, 8)
        return sum(response.text == example.answer for response, example in zip(written, EXAMPLES, strict=True))

    run_recover(pruned, taught, tmp_path / "out", settings=replace(LEARNING, epochs=30), max_new_tokens=8)
    assert right(taught) == 6
    assert right(load(str(pruned), device="cpu")) < 6
    assert right(load(str(tmp_path / "out"), device="cpu")) == 6


def test_a_parent_of_the_hub_is_taken_at_its_revision(
    pruned: Path, base: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None]] = []

    def downloaded(name: str, revision: str | None = None, **_: object) -> str:
        asked.append((name, revision))
        return str(base.folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", downloaded)
    with pytest.raises(UserError, match="not from owner/parent"):
        check_pair(str(pruned), "owner/parent", "v2")
    # The configuration, then the weights.
    assert asked == [("owner/parent", "v2")] * 2


def test_recover_refuses_what_cannot_work(pruned: Path, taught: Loaded, base: Loaded, tmp_path: Path) -> None:
    def refused(words: str, pruned: Path = pruned, parent: Loaded = taught, **changes: Any) -> None:
        with pytest.raises(UserError) as caught:
            run_recover(pruned, parent, changes.pop("out", tmp_path / "out"), **changes)
        assert words in str(caught.value)
        assert not (tmp_path / "out").exists()

    refused("already exists and is not empty", out=pruned)
    refused("has 4 layers and its parent", pruned=taught.folder)
    refused("has 4, so no layer was removed", pruned=taught.folder)
    refused(f"was pruned from {taught.folder} ({taught.ref.base_fingerprint[:12]}), not from", parent=base)
    leaking = listed("leaking", prompts("a", "b"), (Sample("b", "", "evaluate"),))
    refused("1 of 2 training prompts contain evaluated items, such as 'b'", tasks=[leaking])
    other = tmp_path / "other"
    shutil.copytree(pruned, other)
    (other / RECIPE).unlink()
    template = (other / "chat_template.jinja").read_text()
    (other / "chat_template.jinja").write_text(template + " ")
    refused("have different chat templates", pruned=other)
    (other / "chat_template.jinja").write_text(template)
    tokenizer = build()
    tokenizer.add_tokens(["word"])
    tokenizer.save_pretrained(other)
    refused("has 358 tokens, ", pruned=other)
