"""Instead of pruning: fewer bits and a smaller sibling on the same items, with their memory and speed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_models import saved, small_llama
from stored_runs import finished_study

import layerlimits as ll
from layerlimits.api import open_run, write_report
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.store import Store
from layerlimits.models import quantize
from layerlimits.models.load import Loaded, load, weight_bytes
from layerlimits.models.quantize import quantized
from layerlimits.report.charts.options import pareto
from layerlimits.study import alternatives as stage

Says = Callable[..., Any]
STUDY = ("--tasks", "facts,facts_choice", "--limit", 4, "--methods", "reverse", "--ratios", 0.34, "--config")


@pytest.fixture
def sibling(tmp_path: Path) -> Path:
    """A smaller model with a chat template of its own."""
    folder = saved(small_llama(2), tmp_path / "sibling")
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}|")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "study.toml"
    file.write_text("speed_repeats = 3\ncalibration_items = 2\nmax_new_tokens = 4\n[recovery]\nkinds = []\n")
    return file


def test_options_are_rows_of_quality_memory_and_speed(tmp_path: Path) -> None:
    finished_study(tmp_path)
    rows = {row.name: row for row in open_run(tmp_path).alternatives}
    assert {name: row.kind for name, row in rows.items()} == {
        "unpruned": "unpruned",
        "1 layers removed by random": "pruned",
        "1 layers removed by random, finetuned (full)": "finetuned",
        "4-bit weights": "quantized",
        "small": "sibling",
    }
    small, bits = rows["small"], rows["4-bit weights"]
    assert (bits.weight_bytes, bits.bits, bits.speedup.estimate) == (20, 4, 1.3)
    assert [part.score.estimate for part in small.classes] == [9 / 20, 9 / 20]
    assert small.tasks[0].difference.estimate == pytest.approx((9 - 19) / 20)
    assert small.tasks[0].test is not None
    assert (small.tasks[0].test.lost, small.tasks[0].test.won) == (10, 0)
    assert small.tasks[0].test.significant
    assert bits.tasks[0].test is not None
    assert not bits.tasks[0].test.significant
    assert rows["unpruned"].tasks[0].test is None


def test_options_are_drawn_and_listed(tmp_path: Path) -> None:
    finished_study(tmp_path)
    results = write_report(tmp_path)
    figure = pareto(results)
    assert figure is not None
    assert [key.label for key in figure.legend] == ["unpruned", "random", "random, finetuned", "4-bit weights", "small"]
    page = (tmp_path / "report.html").read_text()
    assert 'id="chart-pareto"' in page
    # Against speed and size: 18 / 19 of generation, and 0.65 / 0.7 of choice above chance.
    assert [page.count(f"4-bit weights: retention {kept}") for kept in ("0.95", "0.93")] == [2, 2]


def test_a_run_without_alternatives_says_how_to_measure_them(tmp_path: Path) -> None:
    finished_study(tmp_path)
    with Store(tmp_path) as store:
        Artifacts(store).alternatives = []
    results = write_report(tmp_path)
    assert results.alternatives == ()
    assert "<code>--versus MODEL</code>" in (tmp_path / "report.html").read_text()


def test_a_sibling_is_measured_on_the_same_items(
    says: Says, tiny: Path, sibling: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("study", tiny, *STUDY, settings, "--versus", sibling, "--out", tmp_path / "run")
    content = says(*asked)
    assert not [text for text in content["warnings"] if "Skipped" in text]
    row = content["alternatives"][-1]
    assert (row["name"], row["kind"], row["layers"]) == (str(sibling), "sibling", 2)
    alone = says("evaluate", sibling, *STUDY[:4], "--max-new-tokens", 4)["scores"]
    assert {task["task"]: task["score"]["estimate"] for task in row["tasks"]} == {
        name: score["score"] for name, score in alone.items()
    }
    assert [stage_row["stage"] for stage_row in content["stages"]][-1] == "alternatives"

    # The same command again loads no sibling.
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(stage, "interleaved", fail)
    assert says(*asked)["alternatives"] == content["alternatives"]


def test_a_sibling_that_is_no_model_is_refused(
    refused: Callable[..., str], tiny: Path, settings: Path, tmp_path: Path
) -> None:
    asked = ("study", tiny, *STUDY, settings, "--out", tmp_path / "run")
    assert "no such folder" in refused(*asked, "--versus", tmp_path / "gone")
    assert "Input should be 8 or 4" in refused(*asked, "--quantized", "8,3")
    assert "Input should be 8 or 4" in refused(*asked, "--quantized", "eight")


def test_without_torchao_bits_are_refused_before_anything_runs(
    refused: Callable[..., str], tiny: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "find_spec", lambda name: None)
    said = refused("study", tiny, *STUDY, settings, "--out", tmp_path / "run", "--quantized", "8")
    assert "need the package torchao, which is not installed" in said
    assert "pip install layerlimits[quantize]" in said
    assert not (tmp_path / "run").exists()


def test_a_budget_leaves_alternatives_out(
    says: Says, tiny: Path, sibling: Path, settings: Path, tmp_path: Path
) -> None:
    budget = ("--budget", "200s", "--versus", sibling, "--out", tmp_path / "run")
    content = says("study", tiny, *STUDY, settings, *budget)
    assert content["alternatives"] == []
    assert f"the alternatives to pruning ({sibling})" in "\n".join(content["warnings"])


@pytest.fixture
def torchao() -> None:
    pytest.importorskip("torchao", reason="needs torchao: pip install 'layerlimits[quantize]'")


@pytest.mark.parametrize("bits", [8, 4])
def test_fewer_bits_take_less_memory_and_change_little(bits: Any, loaded: Loaded, torchao: None) -> None:
    copy = quantized(loaded, bits)
    inputs = torch.eye(32)
    exact, rounded = (model.model.model.layers[3].self_attn.q_proj(inputs) for model in (loaded, copy))
    error = float(((exact - rounded).norm() / exact.norm()).detach())
    assert 0.001 < error < (0.01 if bits == 8 else 0.12)
    # Embeddings and head keep their 32 bits.
    outside = sum(4 * module.weight.numel() for module in (copy.model.model.embed_tokens, copy.model.lm_head))
    inside, before = weight_bytes(copy.model) - outside, weight_bytes(loaded.model) - outside
    assert inside < before * (0.4 if bits == 8 else 0.45)
    assert copy.ref.fingerprint != loaded.ref.fingerprint
    assert copy.ref.without((1,)).fingerprint not in {copy.ref.fingerprint, loaded.ref.without((1,)).fingerprint}


def test_matrices_that_do_not_fit_are_refused(torchao: None, tmp_path: Path) -> None:
    narrow = saved(small_llama(2, hidden_size=24, intermediate_size=40), tmp_path / "narrow")
    with pytest.raises(UserError, match="no weight matrix in the layers"):
        quantized(load(str(narrow), device="cpu"), 8)


def test_a_study_measures_bits_with_and_without_pruning(
    says: Says, tiny: Path, settings: Path, tmp_path: Path, torchao: None
) -> None:
    content = says("study", tiny, *STUDY, settings, "--quantized", "8,4", "--out", tmp_path / "run")
    assert not [text for text in content["warnings"] if "Skipped" in text]
    rows = {row["name"]: row for row in content["alternatives"]}
    assert list(rows)[-4:] == [
        "8-bit weights",
        "8-bit weights, 2 removed by reverse",
        "4-bit weights",
        "4-bit weights, 2 removed by reverse",
    ]
    sizes = [
        rows[name]["weight_bytes"] for name in ("unpruned", "8-bit weights", "8-bit weights, 2 removed by reverse")
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert ll.verify_run(tmp_path / "run").sound
