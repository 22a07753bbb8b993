"""Files that name or number layers in another way than the modules."""

from collections.abc import Callable
from pathlib import Path

from architectures import tiny_model
from safetensors import safe_open
from shard_files import check_logits, pruned
from small_models import saved

from layerlimits.models.shards import _numbered

_MAMBA = {
    "layers_block_type": ["linear_attention", "full_attention", "mlp", "linear_attention", "mlp", "full_attention"],
    "head_dim": 8,
    "mamba_num_heads": 4,
    "mamba_head_dim": 16,
    "ssm_state_size": 8,
    "n_groups": 2,
    "chunk_size": 8,
    "mlp_hidden_act": "relu2",
}


def test_layers_under_another_name_than_that_of_the_module_are_found(tmp_path: Path) -> None:
    """The files of nemotron_h have backbone.layers, and its module is model.layers."""
    model = tiny_model("nemotron_h", **_MAMBA)
    model.save_pretrained(tmp_path / "base")
    names = {name for file in (tmp_path / "base").glob("*.safetensors") for name in _names_in(file)}
    assert any(name.startswith("backbone.layers.0.") for name in names)
    out = pruned(tmp_path / "base", (1, 2), tmp_path / "out")
    after = {name for file in out.glob("*.safetensors") for name in _names_in(file)}
    assert {name.split(".")[2] for name in after if name.startswith("backbone.layers.")} == {"0", "1", "2", "3"}
    check_logits(tmp_path / "base", (1, 2), out)


def test_parts_of_layers_in_a_list_of_their_own_are_refused_and_nothing_stays(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    """inkling2_text stores a query of each layer but the first in a list beside the layers."""
    saved(tiny_model("inkling2_text", vocab_size=4096), tmp_path / "base")
    said = refused("prune", tmp_path / "base", "--remove", "1", "--out", tmp_path / "out")
    assert "its files number parts of layers in another way (unexpected weights for layer 5" in said
    assert "use `layerlimits sweep` or `study`" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_of_two_lists_of_layers_with_other_names_none_is_guessed() -> None:
    names = {f"{part}.{layer}.weight" for part in ("tower.blocks", "text.blocks") for layer in range(4)}
    assert _numbered(names, 4) == ["text.blocks", "tower.blocks"]
    assert _numbered({*names, "text.blocks.4.weight"}, 5) == ["text.blocks"]
    assert _numbered({f"text.blocks.0.experts.{expert}.w" for expert in range(8)}, 4) == []


def _names_in(file: Path) -> list[str]:
    with safe_open(file, "pt") as stream:
        return list(stream.keys())
