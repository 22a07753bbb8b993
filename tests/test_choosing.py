"""`methods`, `rank` with one, several or all methods, and `prune` with what fills the gap."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from layerlimits.models.save import read_recipe
from layerlimits.plugins import names

Says = Callable[..., Any]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few short calibration texts."""
    file = tmp_path_factory.mktemp("text") / "text.jsonl"
    lines = [{"text": f"{number} + {number} = {2 * number}, says the ferry to the lighthouse"} for number in range(12)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_every_method_and_replacement_is_listed_with_source_and_cost(says: Says) -> None:
    listed = says("methods")
    assert [entry["name"] for entry in listed["methods"]] == names("methods")
    assert [entry["name"] for entry in listed["replacements"]] == names("replacements")
    assert all(
        entry["source"] and entry["cost"] and entry["summary"] for entries in listed.values() for entry in entries
    )
    options = {entry["name"]: entry["options"] for entry in listed["methods"]}
    assert options["magnitude"] == {"p": 1, "norms": True, "plus": False}


def test_all_methods_side_by_side(says: Says, tiny: Path, texts: Path) -> None:
    results = says("rank", tiny, "--method", "all", "--layers", 2, "--calibration", texts, "--tasks", "facts_choice")
    # The random model answers nothing correctly, so one method cannot rank it; the others are not affected.
    assert set(results["failed"]) == {"chain_loss"}
    assert "no correct answer" in results["failed"]["chain_loss"]
    assert set(results["rankings"]) == set(names("methods")) - {"chain_loss"}
    assert (results["n"], results["layers"]) == (2, 6)
    reverse, random = results["rankings"]["reverse"]["order"], results["rankings"]["random"]["order"]
    assert results["overlap"]["reverse"]["random"] == len(set(reverse[:2]) & set(random[:2])) / 2
    assert results["overlap"]["sleb"]["reverse"] == results["overlap"]["reverse"]["sleb"]
    # Pairs of layers that both put in the same order, less the others.
    agreed = sum(
        1 if (reverse.index(i) < reverse.index(j)) == (random.index(i) < random.index(j)) else -1
        for i in range(6)
        for j in range(i)
    )
    assert results["kendall_tau"]["reverse"]["random"] == pytest.approx(agreed / 15)


def test_large_scores_of_task_score_agree_with_small_ones_of_others(says: Says, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "mirror.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from layerlimits.methods.task_score import task_score\n"
        "def mirror(context):\n"
        "    ranking = task_score(context)\n"
        "    turned = tuple(None if score is None else -score for score in ranking.scores)\n"
        "    return replace(ranking, scores=turned, largest_first=False)\n"
    )
    results = says("rank", tiny, "--method", f"task_score,{file}", "--tasks", "facts_choice", "--layers", 1)
    assert results["kendall_tau"]["task_score"]["mirror"] == pytest.approx(1.0)
    assert results["rankings"]["task_score"]["protected"] == [0]


def test_a_method_with_options_keeps_them_in_its_name(says: Says, tiny: Path) -> None:
    results = says("rank", tiny, "--method", "magnitude:p=2,magnitude")
    assert set(results["rankings"]) == {"magnitude", "magnitude:p=2"}
    single = says("rank", tiny, "--method", "magnitude:p=2")
    assert (
        single["scores"] == results["rankings"]["magnitude:p=2"]["scores"] != results["rankings"]["magnitude"]["scores"]
    )


def test_what_was_looked_at_is_recorded(says: Says, tiny: Path, texts: Path, tmp_path: Path) -> None:
    ranked = says("rank", tiny, "--method", "block_influence", "--calibration", texts, "--items", 5)
    assert len(ranked["used"]) == 5
    says(
        "prune",
        tiny,
        "--method",
        "angular",
        "--layers",
        2,
        "--calibration",
        texts,
        "--items",
        5,
        "--out",
        tmp_path / "p",
    )
    recipe = read_recipe(tmp_path / "p") or {}
    assert recipe["calibration"] == ranked["used"]
    assert recipe["replacement"] == "none"


def test_calibration_text_from_a_data_set(says: Says, tiny: Path, texts: Path, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": ""}\n' + texts.read_text())
    from_file = says("rank", tiny, "--method", "perplexity", "--calibration", texts, "--items", 6)
    for source in (folder, f"{folder}:train"):
        assert says("rank", tiny, "--method", "perplexity", "--calibration", source, "--items", 6) == from_file


@pytest.mark.parametrize("replacement", ["laco", "linear:alpha=0.5", "compensate", "streamline"])
def test_a_checkpoint_with_a_replacement_loads_in_stock_transformers_and_records_its_recipe(
    replacement: str, says: Says, tiny: Path, texts: Path, tmp_path: Path
) -> None:
    results = says(
        "prune", tiny, "--remove", "2,3", "--replacement", replacement, "--calibration", texts, "--items", 6,
        "--out", tmp_path / "p",
    )  # fmt: skip
    assert results["replacement"] == replacement
    replaced = AutoModelForCausalLM.from_pretrained(tmp_path / "p").eval()
    assert type(replaced).__name__ == "LlamaForCausalLM"
    assert replaced.config.num_hidden_layers == 4
    says("prune", tiny, "--remove", "2,3", "--out", tmp_path / "q")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "q").eval()
    ids = torch.arange(5, 20)[None]
    with torch.no_grad():
        assert not torch.allclose(replaced(ids).logits, plain(ids).logits, atol=1e-4)
    recipe = read_recipe(tmp_path / "p") or {}
    assert recipe["replacement"] == replacement
    assert recipe["filling"]
    assert len(recipe["calibration"]) == 6


def test_laco_chooses_and_merges(says: Says, tiny: Path, texts: Path, tmp_path: Path) -> None:
    options = ("--method", "laco:size=2", "--layers", 2, "--calibration", texts)
    ranked = says("rank", tiny, *options)
    results = says("prune", tiny, *options, "--out", tmp_path / "p")
    assert results["replacement"] == "laco"
    assert results["removed"] == sorted(ranked["order"])
    merges = (read_recipe(tmp_path / "p") or {})["filling"]["merges"]
    assert [layer for _, absorbed in merges for layer in absorbed] == ranked["order"]
    base = AutoModelForCausalLM.from_pretrained(tiny)
    into, (absorbed,) = merges[0]
    kept_layers = [layer for layer in range(6) if layer not in results["removed"]]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "p").model.layers[kept_layers.index(into)]
    # The second merge leaves what the first one made as it is.
    assert into != merges[1][0]
    theta, other = (base.model.layers[layer].mlp.up_proj.weight for layer in (into, absorbed))
    assert torch.allclose(merged.mlp.up_proj.weight, theta + (other - theta), atol=1e-6)
    assert says("prune", tiny, *options, "--replacement", "none", "--out", tmp_path / "q")["replacement"] == "none"
