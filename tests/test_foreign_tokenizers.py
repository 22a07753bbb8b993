"""Tokenizers and texts that do not fit a model: more tokens than embeddings, no special tokens, more tokens than
positions. About 15 s.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from architectures import tiny_model
from small_models import saved, small_llama

from layerlimits import api
from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.vocabulary import check_tokens
from layerlimits.reference.tokenizer import build

TOKENS = len(build())
COMMANDS = (
    ("evaluate", "--tasks", "facts", "--limit", "2"),
    ("evaluate", "--tasks", "facts_choice", "--limit", "2", "--engine", "transformers"),
    ("sweep", "--tasks", "facts_choice", "--limit", "2"),
    ("rank", "--method", "block_influence", "--items", "2"),
    ("rank", "--method", "perplexity", "--items", "2"),
    ("rank", "--method", "taylor", "--items", "2"),
)


def _edited(folder: Path, name: str, **fields: Any) -> None:
    file = folder / name
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_token_without_an_embedding_is_one_error(
    command: tuple[str, ...], tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = saved(small_llama(3, vocab_size=40), tmp_path / "model")
    said = refused(command[0], folder, *command[1:])
    assert "but the model has embeddings for 40 tokens only (0 to 39)" in said
    assert "resize_token_embeddings" in said


def test_the_fix_works(tmp_path: Path, says: Callable[..., Any]) -> None:
    model = small_llama(3, vocab_size=40)
    model.resize_token_embeddings(TOKENS, mean_resizing=False)
    assert says("evaluate", saved(model, tmp_path / "model"), "--tasks", "facts", "--limit", "2")["scores"]


def test_only_tokens_that_are_written_need_an_embedding(tmp_path: Path) -> None:
    """Many tokenizers have a padding token that was added later, which the model does not know."""
    folder = saved(small_llama(3), tmp_path / "model")
    tokenizer = build()
    tokenizer.add_special_tokens({"pad_token": "<|added|>"})
    tokenizer.save_pretrained(folder)
    loaded = load(str(folder), device="cpu")
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id < TOKENS
    for engine in ("sweep", "transformers"):
        assert api.evaluate(str(folder), "facts", api.EvalOptions(limit=3, engine=engine)).scores
    check_tokens(loaded.model, [[], [TOKENS - 1]])
    with pytest.raises(UserError, match=f"token {TOKENS}, but the model has embeddings for {TOKENS} tokens"):
        check_tokens(loaded.model, [[0], [1, TOKENS]])


@pytest.mark.parametrize("missing", [("bos", "eos", "pad"), ("bos", "eos", "pad", "unk"), ("eos",)], ids=" ".join)
def test_a_tokenizer_without_special_tokens_works(
    missing: tuple[str, ...], tmp_path: Path, says: Callable[..., Any]
) -> None:
    folder = saved(small_llama(3), tmp_path / "model")
    file = folder / "tokenizer_config.json"
    kept = {name: value for name, value in json.loads(file.read_text()).items() if name[:3] not in missing}
    file.write_text(json.dumps(kept))
    _edited(folder, "config.json", **{f"{name}_token_id": None for name in missing if name != "unk"})
    (folder / "generation_config.json").write_text("{}")
    common = ("--tasks", "facts,facts_choice", "--limit", "2")
    assert says("evaluate", folder, *common)["scores"]
    assert says("sweep", folder, *common, "--layers", "1")["layers"]
    assert says("rank", folder, "--method", "perplexity", "--items", "2")["order"]


@pytest.mark.parametrize("name", ["gpt2", "opt", "llama"])
@pytest.mark.parametrize("method", ["block_influence", "perplexity", "taylor"])
def test_calibration_texts_are_cut_to_the_positions_of_the_model(
    name: str, method: str, tiny: Path, tmp_path: Path, says: Callable[..., Any]
) -> None:
    model = tiny_model(name, vocab_size=TOKENS, max_position_embeddings=16)
    model.save_pretrained(tmp_path / "model")
    build().save_pretrained(tmp_path / "model")
    (tmp_path / "long.txt").write_text("word after word after word " * 400)
    asked = ("--method", method, "--calibration", tmp_path / "long.txt")
    assert says("rank", tmp_path / "model", *asked)["order"]
    assert [len(ids) for ids in api.calibration(str(tmp_path / "model"), 1, tmp_path / "long.txt").ids] == [16]
    assert len(api.calibration(str(tiny), 1, tmp_path / "long.txt", max_tokens=600).ids[0]) == 512


@pytest.mark.parametrize("metadata", [{"metadata": None}, {}], ids=["null", "absent"])
def test_an_index_without_metadata_is_refused_and_the_fix_works(
    metadata: dict[str, Any], tiny: Path, tmp_path: Path, refused: Callable[..., str], says: Callable[..., Any]
) -> None:
    """transformers does not load such a checkpoint."""
    folder = Path(shutil.copytree(tiny, tmp_path / "model"))
    small_llama(6).save_pretrained(folder, max_shard_size="60KB")
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    index.write_text(json.dumps({"weight_map": weight_map, **metadata}))
    said = refused("evaluate", folder, "--tasks", "facts", "--limit", "2")
    assert "model.safetensors.index.json has no metadata" in said
    _edited(folder, index.name, metadata={})
    assert says("evaluate", folder, "--tasks", "facts", "--limit", "2")["scores"]
    says("prune", folder, "--remove", "2", "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / index.name).read_text())["metadata"]["total_size"] > 0
