"""What the configuration of a written checkpoint declares agrees with its layers, or a warning says so."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from architectures import tiny_model

from layerlimits.models.save import window_warnings, write_checkpoint
from layerlimits.reference.tokenizer import build


@pytest.mark.parametrize("declared", [0, 1, 2])
def test_layers_for_multi_token_prediction_are_not_declared(declared: int, tmp_path: Path) -> None:
    model = tiny_model("deepseek_v3")
    model.config.num_nextn_predict_layers = declared
    write_checkpoint(model, tmp_path, tmp_path / "out", {})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_nextn_predict_layers"] == 0
    assert config["num_hidden_layers"] == model.config.num_hidden_layers


def test_a_window_that_no_layer_uses_is_warned_about(says: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "gemma"
    model = tiny_model("gemma3_text", vocab_size=len(build()))
    model.save_pretrained(folder)
    build().save_pretrained(folder)
    kinds = model.config.layer_types
    sliding = [layer for layer, kind in enumerate(kinds) if kind == "sliding_attention"]
    assert 0 < len(sliding) < len(kinds)
    all_of_them = says("prune", folder, "--remove", ",".join(map(str, sliding)), "--out", tmp_path / "all")
    window = model.config.sliding_window
    assert f"still declares sliding_window = {window}" in all_of_them["warnings"][0]
    assert json.loads((tmp_path / "all" / "config.json").read_text())["sliding_window"] == window
    assert says("prune", folder, "--remove", sliding[-1], "--out", tmp_path / "some")["warnings"] == []
    assert window_warnings(model.config, folder) == ()
