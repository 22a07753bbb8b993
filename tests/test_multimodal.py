"""Multimodal checkpoints: their text model is measured and pruned, and stock transformers loads what is written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from multimodal_models import LAYERS, MULTIMODAL, multimodal_model, saved_multimodal
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits import api
from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers

NAMES = sorted(MULTIMODAL)
# Llama 4 has a chunk, and Gemma 3 a window, of 16 tokens.
PROMPT = torch.arange(3, 40)[None]
REMOVED = (1, 3)

_STOCK = """
import json, sys, torch, transformers
torch.set_num_threads(1)
prompt, answers = torch.arange(3, 40)[None], {}
for entry in sys.argv[1:]:
    auto, folder = entry.split("=", 1)
    model, report = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["mismatched_keys"], (folder, report)
    unexpected = [key for key in report["unexpected_keys"] if not key.startswith("mtp.")]
    assert not unexpected, (folder, unexpected)
    with torch.no_grad():
        answers[entry] = [type(model).__name__, model.eval()(input_ids=prompt).logits.flatten().tolist()]
assert not any(name.startswith("layerlimits") for name in sys.modules)
print(json.dumps(answers))
"""
TEXT, WHOLE = "AutoModelForCausalLM", "AutoModelForImageTextToText"


def stock_logits(folders: list[tuple[str, Path]]) -> dict[Path, Tensor]:
    """Logits of the prompt by folder, in a process that knows nothing of this package."""
    ran = subprocess.run(
        [sys.executable, "-c", _STOCK, *(f"{auto}={folder}" for auto, folder in folders)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    answers = json.loads(ran.stdout.splitlines()[-1])
    return {Path(entry.split("=", 1)[1]): torch.tensor(logits) for entry, (_, logits) in answers.items()}


@torch.no_grad()
def logits(model: PreTrainedModel) -> Tensor:
    return model(input_ids=PROMPT).logits


def hand_on(_: Any, given: tuple[Any, ...], named: dict[str, Any], output: Any) -> Any:
    """A hook with which a layer hands on what it gets."""
    stream = given[0] if given else named["hidden_states"]
    return stream if isinstance(output, Tensor) else (stream, *output[1:])


def names_in(folder: Path) -> set[str]:
    names: set[str] = set()
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            names.update(tensors.keys())
    return names


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("multimodal")
    return {name: saved_multimodal(name, folder / name) for name in NAMES}


def test_the_text_model_is_pruned_and_loads_alone_or_in_its_place(bases: dict[str, Path], tmp_path: Path) -> None:
    """The oracle is the multimodal model itself, whose removed layers hand on what they get."""
    folders: list[tuple[str, Path]] = []
    for name, base in bases.items():
        for keep_vision, auto in ((False, TEXT), (True, WHOLE)):
            out = tmp_path / f"{name}-{keep_vision}"
            options = api.PruneOptions(remove=REMOVED, keep_vision=keep_vision)
            warnings = " ".join(api.prune(str(base), out, options).warnings)
            assert f"multimodal checkpoint ({name}), only the text model is used" in warnings
            assert ("image features enter" in warnings) == (keep_vision and name == "qwen3_vl")
            folders.append((auto, out))
    answers = stock_logits(folders)
    for name in bases:
        whole = multimodal_model(name)
        decoder = whole.model.language_model if hasattr(whole, "model") else whole.language_model.model
        layers = decoder.layers
        hooks = [layers[layer].register_forward_hook(hand_on, with_kwargs=True) for layer in REMOVED]
        expected = logits(whole).flatten()
        for hook in hooks:
            hook.remove()
        assert not torch.allclose(expected, logits(whole).flatten(), atol=1e-2), name
        for keep_vision in (False, True):
            out = tmp_path / f"{name}-{keep_vision}"
            assert torch.allclose(answers[out], expected, rtol=0, atol=1e-5), (name, keep_vision)
            _check_files(name, bases[name], out, keep_vision)


def _check_files(name: str, base: Path, out: Path, keep_vision: bool) -> None:
    config = json.loads((out / "config.json").read_text())
    before = json.loads((base / "config.json").read_text())["text_config"]
    assert config["model_type"] == (name if keep_vision else MULTIMODAL[name][1])
    inner = config["text_config"] if keep_vision else config
    assert inner["num_hidden_layers"] == LAYERS - 2
    if "layer_types" in before:
        assert inner["layer_types"] == [
            kind for layer, kind in enumerate(before["layer_types"]) if layer not in REMOVED
        ]
    assert inner.get("mtp_num_hidden_layers", 0) == 0
    assert (out / "preprocessor_config.json").exists() == keep_vision
    other = {key for key in names_in(base) if "vis" in key or "projector" in key}
    assert other
    assert names_in(out) & other == (other if keep_vision else set())


@pytest.mark.parametrize("name", NAMES)
def test_the_loaded_text_model_computes_what_the_multimodal_model_does(name: str, bases: dict[str, Path]) -> None:
    loaded = load(str(bases[name]), dtype="float32", device="cpu")
    assert (loaded.depth, loaded.model.config.model_type) == (LAYERS, MULTIMODAL[name][1])
    assert torch.equal(logits(loaded.model), logits(multimodal_model(name)))
    assert "only the text model is used" in loaded.number_type.reason


@pytest.mark.parametrize("keep_vision", [False, True])
def test_a_replacement_is_written_alone_or_in_its_place(
    keep_vision: bool, bases: dict[str, Path], tmp_path: Path
) -> None:
    base, out = bases["gemma3"], tmp_path / "out"
    options = api.PruneOptions(remove=(2,), replacement="laco", keep_vision=keep_vision)
    api.prune(api.ModelOptions(str(base), dtype="float32", device="cpu"), out, options)
    again = load(str(out), dtype="float32", device="cpu")
    with without_layers(load(str(base), dtype="float32", device="cpu").model, (2,)) as plain:
        assert not torch.allclose(logits(again.model), logits(plain), atol=1e-2)
    answers = stock_logits([(WHOLE if keep_vision else TEXT, out)])
    assert torch.allclose(answers[out], logits(again.model).flatten(), rtol=0, atol=1e-5)
    assert {path.name for path in out.iterdir() if path.name.startswith(".")} == set()


def test_every_command_takes_a_multimodal_checkpoint(
    bases: dict[str, Path], says: Callable[..., Any], tmp_path: Path
) -> None:
    base = bases["gemma3"]
    few = ("--tasks", "facts", "--limit", 4, "--device", "cpu")
    told = f"{base}: of this multimodal checkpoint (gemma3), only the text model is used (gemma3_text, 6 layers)."
    assert told in says("evaluate", base, *few)["warnings"]
    swept = says("sweep", base, *few, "--layers", "1,4")
    assert [row["layer"] for row in swept["sweep"]] == [1, 4]
    ranked = says("rank", base, "--method", "taylor", "--items", 4, "--device", "cpu")
    assert (len(ranked["order"]), ranked["warnings"]) == (LAYERS, [told])
    plan = says("study", base, "--plan", "--tasks", "facts", "--limit", 4, "--out", tmp_path / "run")
    assert "only the text model is used" in plan["dtype_reason"]
    says("prune", base, "--remove", 2, "--out", tmp_path / "out")
    assert "only the text model" in json.loads((tmp_path / "out" / "layerlimits.json").read_text())["source"][0]


def test_own_output_embeddings_overrule_a_configuration_that_ties_them(tmp_path: Path) -> None:
    """Mistral Small 3.1 leaves the field to its default in one part of its configuration."""
    base = saved_multimodal("mistral3", tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    head = torch.randn_like(tensors["language_model.model.embed_tokens.weight"])
    save_file(tensors | {"language_model.lm_head.weight": head}, base / "model.safetensors", {"format": "pt"})
    loaded = load(str(base), dtype="float32", device="cpu")
    assert torch.equal(loaded.model.get_output_embeddings().weight, head)
    assert not torch.equal(head, loaded.model.get_input_embeddings().weight)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("mllama", {"text_config": {}}, "no causal language model for its text model"),
        ("llava", {"text_config": {"model_type": "nothing"}}, "no causal language model for its text model"),
        ("gemma3", {"text_config": {"num_hidden_layers": -1}}, "num_hidden_layers is -1"),
        ("gemma3", {"text_config": {"num_hidden_layers": 10**12}}, "weight files have only"),
        ("gemma3", {"text_config": {"num_hidden_layers": 7}}, "is invalid"),
        ("mistral3", {"text_config": {"num_hidden_layers": 7}}, "weights missing for layer 6"),
    ],
)
def test_a_text_model_that_cannot_be_used_is_one_error(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    base = saved_multimodal(name if name in MULTIMODAL else "gemma3", tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["model_type"] = name
    config["text_config"] |= changes["text_config"]
    if name == "mllama":
        config["text_config"] = {}
    (base / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=message):
        load(str(base), device="cpu")


def test_keep_vision_needs_a_multimodal_checkpoint(tiny: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    said = refused("prune", tiny, "--remove", 2, "--keep-vision", "--out", tmp_path / "out")
    assert "is not a multimodal checkpoint" in said
    assert not (tmp_path / "out").exists()


def test_missing_text_weights_are_named(tmp_path: Path) -> None:
    base = saved_multimodal("qwen3_vl", tmp_path / "base")
    tensors = load_file(base / "model.safetensors")
    del tensors["model.language_model.layers.2.mlp.up_proj.weight"]
    save_file(tensors, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"weights missing for layer 2 \(model.layers.2.mlp.up_proj.weight\)"):
        load(str(base), device="cpu")
