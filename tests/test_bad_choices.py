"""Layers that cannot be chosen and gaps that cannot be filled: one clear error each, and nothing written."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from architectures import tiny_model
from small_models import small_llama

from layerlimits.reference.tokenizer import build

Refused = Callable[..., str]


@pytest.fixture
def model_of(tmp_path: Path) -> Callable[..., Path]:
    """The folder of a small model of an architecture, with a tokenizer whose words it has."""

    def make(name: str, **fields: object) -> Path:
        folder = tmp_path / name
        tiny_model(name, **{"vocab_size": len(build())} | fields).save_pretrained(folder)
        build().save_pretrained(folder)
        return folder

    return make


def test_a_block_method_without_a_number(refused: Refused, tiny: Path) -> None:
    said = refused("rank", tiny, "--method", "angular")
    assert "angular removes one block of adjacent layers" in said
    assert "set layers (--layers)" in said


def test_protected_layers_that_leave_no_block(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("prune", tiny, "--method", "angular", "--layers", 3, "--protect", "1,4", "--out", tmp_path / "p")
    assert "angular selects 0 of 3 layers to remove; the model has 6 layers (protected: 1, 4)" in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("method", ["sleb", "taylor", "interaction", "task_score", "chain_loss"])
def test_protected_layers_that_leave_too_little(method: str, refused: Refused, tiny: Path) -> None:
    said = refused("rank", tiny, "--method", method, "--layers", 4, "--protect", "0,2,3")
    assert "cannot remove 4 layers: the model has 6, and 3 are protected (0, 2, 3)" in said
    assert "at most 3" in said


def test_a_plan_that_is_no_block_for_a_replacement_of_blocks(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("prune", tiny, "--remove", "1,3-4", "--replacement", "streamline", "--out", tmp_path / "p")
    assert "streamline replaces one block, but the removed layers form 2 blocks: 1, 3-4" in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("replacement", ["laco", "linear", "streamline"])
def test_no_layer_before_the_gap(replacement: str, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("prune", tiny, "--remove", "0,1", "--replacement", replacement, "--out", tmp_path / "p")
    assert "no layer precedes layer 0" in said


@pytest.mark.parametrize(
    ("architecture", "replacement", "words"),
    [
        ("olmo2", "linear", "a norm follows the MLP"),
        ("gemma2", "linear", "a norm follows the MLP"),
        ("olmo2", "compensate", "reads the stream without a norm"),
    ],
)
def test_an_architecture_that_cannot_take_a_replacement(
    architecture: str,
    replacement: str,
    words: str,
    refused: Refused,
    model_of: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = model_of(architecture)
    said = refused("prune", folder, "--remove", "2,3", "--replacement", replacement, "--out", tmp_path / "p")
    assert words in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("command", ["prune", "study"])
def test_an_architecture_whose_layers_depend_on_each_other(
    command: str, refused: Refused, model_of: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_of("gpt2", scale_attn_by_inverse_layer_idx=True)
    more = ["--remove", "2"] if command == "prune" else []
    said = refused(command, folder, *more, "--out", tmp_path / "p")
    assert "scale_attn_by_inverse_layer_idx" in said
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("method", ["block_influence", "angular", "perplexity", "sleb", "taylor", "magnitude", "laco"])
def test_activations_or_weights_that_are_no_numbers(method: str, refused: Refused, tmp_path: Path) -> None:
    model = small_llama(6)
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[3] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    build().save_pretrained(tmp_path / "broken")
    said = refused("rank", tmp_path / "broken", "--method", method, "--layers", 2, "--items", 8)
    assert re.match(r"error: .*(the score nan|not finite|not numbers)", said)


def test_a_replacement_or_option_that_does_not_exist(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    options = ["prune", tiny, "--remove", "2", "--out", tmp_path / "p", "--replacement"]
    assert "did you mean compensate" in refused(*options, "compensat")
    assert "unknown option of linear 'beta'" in refused(*options, "linear:beta=1")
    assert "alpha = -1" in refused(*options, "linear:alpha=-1")
    assert "unknown method 'all'" in refused("prune", tiny, "--method", "all", "--layers", 1, "--out", tmp_path / "p")


def test_a_data_set_that_cannot_be_read(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    options = ["rank", tiny, "--method", "block_influence", "--calibration"]
    assert f"no such file or folder: {tmp_path / 'gone'}" in refused(*options, tmp_path / "gone")
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "train.jsonl").write_text(json.dumps({"words": "one"}) + "\n")
    said = refused(*options, folder)
    assert "has neither a column text nor columns prompt and response; it has words" in said
    (folder / "train.jsonl").write_text(json.dumps({"text": 3}) + "\n")
    assert f"dataset {folder}: an item has a int, not a string" in refused(*options, folder)
    (folder / "train.jsonl").write_text(json.dumps({"text": " "}) + "\n")
    assert "is empty" in refused(*options, folder)
    assert f"cannot read dataset {folder}:test: " in refused(*options, f"{folder}:test")


def test_a_text_of_one_token_predicts_nothing(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text('{"text": ""}\n')
    said = refused("rank", tiny, "--method", "perplexity", "--items", 1, "--calibration", tmp_path / "one.jsonl")
    assert "contains no token to predict" in said
