"""Every mistake ends in one clear error with its fix, exit status 2, and nothing lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import XLMConfig, XLMWithLMHeadModel

from layerlimits.evaluation.store import Store

Refused = Callable[..., str]


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the model to spoil."""
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


def _change(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("command", ["study", "sweep", "evaluate", "rank", "prune"])
def test_a_missing_folder(command: str, refused: Refused, tmp_path: Path) -> None:
    more = {"rank": ["--method", "reverse"], "prune": ["--remove", "1", "--out", tmp_path / "out"]}
    said = refused(command, tmp_path / "gone", *more.get(command, []))
    assert f"no such folder: {tmp_path / 'gone'}" in said
    assert "hub id such as owner/name" in said


def test_a_folder_that_is_no_model(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "is not a model folder: it has no config.json" in refused("evaluate", tmp_path / "empty")


def test_a_file_in_place_of_a_folder(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file, not a model folder" in refused("evaluate", tmp_path / "file")


def test_a_broken_configuration(refused: Refused, copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "is not valid JSON" in refused("evaluate", copy)


def test_a_truncated_weight_file(refused: Refused, copy: Path, tmp_path: Path) -> None:
    weights = copy / "model.safetensors"
    whole = weights.stat().st_size
    for size in (whole - 1, 5000, 100, 4, 0):
        weights.write_bytes(weights.read_bytes()[:size])
        said = refused("study", copy, "--out", tmp_path / "run")
        assert "is truncated" in said or "is not a safetensors file" in said
        assert "download the model again" in said
        if size == whole - 1:
            assert f"{size:,} bytes, expected {whole:,}" in said
    assert not (tmp_path / "run").exists()


def test_pickled_weights(refused: Refused, copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    said = refused("evaluate", copy)
    assert "no safetensors weights" in said
    assert "a pickle that could run code" in said


def test_an_unknown_method(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("rank", tiny, "--method", "block_influenc")
    assert "unknown method 'block_influenc'" in said
    assert "did you mean block_influence?" in said
    said = refused("study", tiny, "--methods", "revers,random", "--out", tmp_path / "run")
    assert "did you mean reverse" in said
    assert not (tmp_path / "run").exists()


def test_no_task(refused: Refused, tiny: Path) -> None:
    said = refused("evaluate", tiny, "--tasks", "")
    assert "no task given" in said
    assert "arithmetic" in said
    assert "a suite: reference" in said


def test_an_unknown_task(refused: Refused, tiny: Path) -> None:
    said = refused("evaluate", tiny, "--tasks", "arithmetics")
    assert "unknown task 'arithmetics'" in said
    assert "did you mean arithmetic" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--remove", "6"], "layer 6 does not exist: the model has 6 layers"),
        (["--remove", "2,9-10"], "layer 9, 10 does not exist: the model has 6 layers"),
        (["--remove", "2,3,2"], "layer 2 is listed more than once"),
        (["--remove", "0-5"], "cannot remove 6 layers: the model has 6"),
        (["--remove", "x"], "'x' is not a layer number"),
        (["--remove", "\N{SUPERSCRIPT TWO}"], "is not a layer number"),
        (["--remove", "3-1"], "the range '3-1' is reversed"),
        (["--remove", "0-99999999999"], "is not a layer number"),
        (["--remove", "0-999999"], "20, 21, 22, 23, 24, 25, ... does not exist"),
        (["--remove", "1", "--protect", "1"], "layer 1 is protected"),
        (["--remove", "1", "--protect", "7"], "protected layer 7 does not exist: the model has 6 layers"),
        (["--method", "reverse", "--layers", "6"], "cannot remove 6 layers: the model has 6"),
        (["--method", "reverse", "--layers", "99"], "cannot remove 99 layers: the model has 6"),
        (["--method", "reverse", "--layers", "0"], "cannot remove 0 layers"),
        (["--method", "reverse", "--layers", "-1"], "cannot remove -1 layers"),
        (["--method", "reverse", "--ratio", "1.5"], "ratio 1.5 is not between 0 and 1"),
        (["--method", "reverse", "--ratio", "0"], "ratio 0 is not between 0 and 1"),
        (["--method", "reverse", "--ratio", "-0.2"], "ratio -0.2 is not between 0 and 1"),
        (["--method", "reverse"], "exactly one of layers, ratio and remove is required, got 0"),
        (["--layers", "2"], "layers requires a method"),
        (["--method", "reverse", "--remove", "1"], "are mutually exclusive"),
        (["--method", "revers", "--layers", "1"], "did you mean reverse"),
    ],
)
def test_layers_that_cannot_be_removed(
    options: list[str], words: str, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    assert words in refused("prune", tiny, *options, "--out", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--ratios", "0.5,1.2"], "ratio 1.2 is not between 0 and 1"),
        (["--ratios", "0"], "ratio 0 is not between 0 and 1"),
        (["--ratios", "0.99"], "cannot remove 6 layers: the model has 6"),
        (["--protect", "0-5"], "cannot remove 2 layers: the model has 6, and 6 are protected"),
        (["--protect", "8"], "protected layer 8 does not exist"),
        (["--limit", "0"], "limit: items 0 is not between 1 and 100000"),
        (["--preset", "quik"], "did you mean quick"),
        (["--config", "gone.toml"], "no such file: gone.toml"),
    ],
)
def test_settings_of_a_study(option: list[str], words: str, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    assert words in refused("study", tiny, *option, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_every_wrong_setting_of_a_file_is_told_at_once(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('limmit = 3\nratios = [2.0]\nmethods = ["revers"]\n[recovery]\nkinds = ["half"]\n')
    said = refused("study", tiny, "--config", file)
    for words in (
        "4 invalid settings",
        "limmit: no such setting",
        "ratio 2",
        "did you mean reverse",
        "recovery.kinds",
    ):
        assert words in said


def test_zero_layers_to_rank(refused: Refused, tiny: Path) -> None:
    said = refused("rank", tiny, "--method", "reverse", "--layers", 0)
    assert "cannot remove 0 layers" in said
    assert "set layers to 1 to 5" in said


def test_a_model_without_a_recognizable_stack(refused: Refused, copy: Path) -> None:
    # XLM keeps attentions, norms and feed-forward parts in lists of their own: there is no list of layers.
    torch.manual_seed(0)
    XLMWithLMHeadModel(XLMConfig(vocab_size=64, emb_dim=16, n_layers=6, n_heads=2)).save_pretrained(copy)
    said = refused("evaluate", copy)
    assert "XLMWithLMHeadModel has no recognizable layer stack: expected one list of 6 modules" in said
    assert "found 4" in said


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"is_encoder_decoder": True}, "is an encoder-decoder"),
        ({"vision_config": {"hidden_size": 8}}, "is multimodal"),
        ({"audio_config": {}}, "is multimodal"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "is already quantized (gptq)"),
        ({"model_type": "not_a_model"}, "for which transformers has no causal language model"),
        ({"model_type": "t5"}, "for which transformers has no causal language model"),
    ],
)
def test_models_of_another_kind(fields: dict[str, object], words: str, refused: Refused, copy: Path) -> None:
    _change(copy, **fields)
    assert words in refused("evaluate", copy)


def test_an_unknown_device_or_type(refused: Refused, tiny: Path) -> None:
    assert "device 'moon' is not available" in refused("evaluate", tiny, "--device", "moon")
    assert "float31" in refused("evaluate", tiny, "--dtype", "float31")


def test_a_run_folder_of_another_model_keeps_its_results(
    refused: Refused, says: Callable[..., object], tiny: Path, copy: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    options = ["--tasks", "facts_choice", "--limit", 5, "--out", run]
    first = says("evaluate", tiny, *options)
    before = _exported(run)
    (copy / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    said = refused("evaluate", copy, *options)
    assert "contains a run with another model" in said
    assert "this folder was not changed" in said
    assert "another batch size" in refused("evaluate", tiny, *options, "--batch-size", 3)
    assert "another model" in refused("study", copy, "--tasks", "facts_choice", "--limit", 5, "--out", run)
    assert _exported(run) == before
    assert says("evaluate", tiny, *options) == first


def _exported(run: Path) -> str:
    with Store(run) as store:
        return json.dumps(list(store.export()))


def test_a_folder_that_holds_something_else(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "already exists and is not empty" in refused("study", tiny, "--out", tmp_path)
    assert "already exists and is not empty" in refused("prune", tiny, "--remove", "1", "--out", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_read_only_output(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    for command in (["study", tiny], ["prune", tiny, "--remove", "1"], ["evaluate", tiny]):
        said = refused(*command, "--out", closed / "out")
        assert f"{closed} is read-only" in said
        assert "choose a writable output folder (--out)" in said


def test_an_output_under_a_file(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is a file" in refused("prune", tiny, "--remove", "1", "--out", tmp_path / "file" / "out")


def test_a_recipe_that_is_none(refused: Refused, tmp_path: Path) -> None:
    recipe, folders = tmp_path / "recipe.toml", ("--out", tmp_path / "out", "--work", tmp_path / "work")
    assert "no such file" in refused("reference", "train", "--recipe", recipe, *folders)
    recipe.write_text("seed = 1\nrow_tokens = 64\n[mix]\nfacts = 1.0\n")
    assert "is missing model, phase" in refused("reference", "train", "--recipe", recipe, *folders)
    recipe.write_text(recipe.read_text() + "[model]\n[[phase]]\nlayers = 2\nrate = 1.0\n")
    said = refused("reference", "train", "--recipe", recipe, *folders)
    assert "phase 1 of the recipe is missing steps, rows, lr, skip and has unknown settings: rate" in said
    assert not (tmp_path / "out").exists()


def test_a_report_of_no_run(refused: Refused, tmp_path: Path) -> None:
    assert "is not a run folder" in refused("report", tmp_path)


def test_a_data_folder_without_the_file(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused("evaluate", tiny, "--tasks", "arithmetic", "--data-dir", tmp_path)
    assert f"no such folder: {tmp_path / 'arithmetic'}" in said
    (tmp_path / "arithmetic").mkdir()
    said = refused("evaluate", tiny, "--tasks", "arithmetic", "--data-dir", tmp_path)
    assert "has no single_digit_three_ops.jsonl" in said


def test_calibration_text_that_is_not_there_or_empty(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    options = ["rank", tiny, "--method", "block_influence", "--calibration"]
    assert "cannot read" in refused(*options, tmp_path / "gone.txt")
    (tmp_path / "empty.txt").write_text("\n\n")
    assert "is empty" in refused(*options, tmp_path / "empty.txt")
    (tmp_path / "odd.jsonl").write_text('{"text": "good"}\n{"words": 1}\n')
    assert "line 2: not a calibration item" in refused(*options, tmp_path / "odd.jsonl")


def test_a_model_and_its_parent_must_belong_together(refused: Refused, tiny: Path, tmp_path: Path) -> None:
    assert "so no layer was removed" in refused("recover", tiny, "--parent", tiny, "--out", tmp_path / "out")


def test_the_exit_status_of_the_real_command(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "layerlimits", "evaluate", str(tmp_path / "gone"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines()[0].startswith("error: no such folder")
