"""Two checkpoints of any depth and origin on the same items: differences, tests, and what else differs between them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness_tasks import write_rows
from small_models import saved, small_llama
from stored_runs import BASE, FINETUNED, put, record

import layerlimits as ll
from layerlimits.evaluation.store import Store
from layerlimits.results.pair import ComparedModel, CompareResults, MeasuredModel, compare_results
from layerlimits.statistics.significance import mcnemar, sign_flip

Says = Callable[..., Any]
FIGURE = {"estimate", "low", "high", "n"}


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of another depth and width, without a chat template."""
    folder = saved(small_llama(3, intermediate_size=48), tmp_path_factory.mktemp("shallow") / "model")
    (folder / "chat_template.jinja").unlink()
    return folder


def about(name: str, **changes: Any) -> ComparedModel:
    plain: dict[str, Any] = {"fingerprint": name, "dtype": "float32", "vocabulary": "v", "template": None}
    return ComparedModel(name, layers=3, parameters=30, weight_bytes=120, device="cpu", **plain | changes)


def compared(folder: Path, base: list[float], other: list[float], **changes: Any) -> CompareResults:
    """The comparison of two models with these values."""
    task = record("facts", len(base), kind="generation", protocol="free", chance=0.0)
    with Store(folder) as store:
        put(store, BASE, task, base)
        put(store, FINETUNED, task, other)
        sides = MeasuredModel(about("one"), BASE, (task,)), MeasuredModel(about("two", **changes), FINETUNED, (task,))
        return compare_results(store, *sides, "greedy", 0.05)


def test_the_figures_are_those_of_the_stored_answers(tmp_path: Path) -> None:
    base, other = [1.0] * 30 + [0.0] * 10, [0.0] * 12 + [1.0] * 20 + [0.0] * 8
    (row,) = compared(tmp_path, base, other).tasks
    assert (row.base.estimate, row.other.estimate, row.difference.estimate) == (0.75, 0.5, -0.25)
    assert row.test is not None
    assert (row.test.lost, row.test.won) == (12, 2)
    assert row.test.p == row.test.p_holm == mcnemar(base, other).p
    assert row.difference.low < -0.25 < row.difference.high < 0


def test_graded_values_have_a_test_too(tmp_path: Path) -> None:
    base, other = [0.2, 0.4, 0.5, 0.9] * 5, [0.3, 0.5, 0.5, 0.8] * 5
    (row,) = compared(tmp_path, base, other).tasks
    assert row.test is not None
    assert (row.test.lost, row.test.won, row.test.p) == (5, 10, sign_flip(base, other))


def test_what_differs_besides_the_weights_is_said(tmp_path: Path) -> None:
    values = [1.0, 0.0] * 10
    plain = compared(tmp_path / "a", values, values).warnings
    assert not any("tokenizer" in text or "computed in" in text for text in plain)
    said = compared(tmp_path / "b", values, values, vocabulary="w", dtype="bfloat16").warnings
    assert "different tokenizers" in said[0]
    assert said[1] == "one was computed in float32, and two in bfloat16."
    assert "n = 20 is too small" in said[-1]


def test_two_models_of_other_depth_and_template(says: Says, tiny: Path, shallow: Path, tmp_path: Path) -> None:
    asked = ("compare", tiny, shallow, "--tasks", "facts,facts_choice", "--limit", 6, "--max-new-tokens", 8)
    content = says(*asked, "--out", tmp_path / "run")
    assert set(content["tasks"]) == {"facts", "facts_choice"}
    for row in content["tasks"].values():
        assert all(set(row[key]) == FIGURE and row[key]["n"] == 6 for key in ("base", "other", "difference"))
        assert row["difference"]["estimate"] == pytest.approx(row["other"]["estimate"] - row["base"]["estimate"])
        assert set(row["test"]) == {"lost", "won", "p", "p_holm"}
    assert [content["models"][side]["layers"] for side in ("base", "other")] == [6, 3]
    assert content["models"]["other"]["template"] is None
    said = "\n".join(content["warnings"])
    assert "asked in different templates in facts" in said
    assert f"and {shallow} with plain text" in said
    # Each model's scores are those of `evaluate`.
    for side, model in (("base", tiny), ("other", shallow)):
        alone = says("evaluate", model, *asked[3:])["scores"]
        assert {name: row[side]["estimate"] for name, row in content["tasks"].items()} == {
            name: score["score"] for name, score in alone.items()
        }


def test_a_comparison_resumes_and_more_models_are_compared_there(
    says: Says, tiny: Path, shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("--tasks", "facts", "--limit", 3, "--max-new-tokens", 4, "--no-chat", "--out", tmp_path / "run")
    first = says("compare", tiny, shallow, *asked)
    with monkeypatch.context() as patched:
        from layerlimits.evaluation.ledger import Ledger

        def fail(*_: object) -> None:
            raise AssertionError("computed again")

        patched.setattr(Ledger, "add_computed", fail)
        assert says("compare", tiny, shallow, *asked) == first
    same = says("compare", tiny, tiny, *asked)
    assert "are the same checkpoint" in same["warnings"][0]
    assert same["tasks"]["facts"]["difference"]["estimate"] == 0


def test_the_folder_belongs_to_the_first_model(
    says: Says, refused: Callable[..., str], tiny: Path, shallow: Path, tmp_path: Path
) -> None:
    asked = ("--tasks", "facts", "--limit", 1, "--max-new-tokens", 2, "--out", tmp_path / "run")
    says("evaluate", tiny, *asked)
    assert "contains a run with another model" in refused("compare", shallow, tiny, *asked)


def test_both_models_are_checked_before_one_is_asked(
    refused: Callable[..., str], tiny: Path, shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerlimits.models import load as loading

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(loading, "_read", fail)
    asked = ("--tasks", "facts", "--limit", 1)
    assert f"the tokenizer of {shallow} has no chat template" in refused("compare", tiny, shallow, *asked, "--chat")
    broken = Path(shutil.copytree(tiny, tmp_path / "broken"))
    (broken / "model.safetensors").unlink()
    assert str(broken) in refused("compare", tiny, broken, *asked)
    (broken / "config.json").write_text("{")
    assert "is not valid JSON" in refused("compare", tiny, broken, *asked)


def test_prompts_too_long_for_one_model_are_its_errors(says: Says, tiny: Path, tmp_path: Path) -> None:
    short = saved(small_llama(2, max_position_embeddings=48), tmp_path / "short")
    rows = [
        {"question": f"What is {n} plus {n + 1}? " + "Think. " * 12, "answer": f"#### {2 * n + 1}"} for n in range(9)
    ]
    for name in ("test", "train"):
        write_rows(tmp_path / "data" / "gsm8k" / f"{name}.jsonl", rows)
    asked = ("--tasks", "gsm8k", "--data-dir", tmp_path / "data", "--limit", 2, "--max-new-tokens", 4)
    content = says("compare", tiny, short, *asked)
    assert f"{short}: 2 of 2 prompts of gsm8k exceed the model's context" in json.dumps(content["warnings"])
    assert f"{tiny}: " not in json.dumps(content["warnings"])


def test_models_in_memory_are_compared_and_shown(tiny: Path, shallow: Path) -> None:
    results = ll.compare(ll.load(tiny), ll.load(shallow), "facts_choice", ll.EvalOptions(limit=8))
    frame = results.to_frame()
    assert list(frame.columns) == ["task", "base", "other", "difference", "low", "high", "n", "p_holm"]
    assert len(frame) == 1
    assert "minus" in results._repr_html_()


def test_the_table_is_printed(
    tiny: Path, shallow: Path, exits: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    tasks = ("--tasks", "facts_choice,inference_choice", "--limit", 4)
    assert exits("compare", tiny, shallow, *tasks) == 0
    said = capsys.readouterr().out
    assert "difference" in said
    assert "choice, mean over 2 tasks: " in said
    assert "warning: " in said
