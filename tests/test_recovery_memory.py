"""Training on a CPU in parts that fit into memory, where an allocation too many would end the process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from recovery_models import EXAMPLES, QUICK, QUICK_LORA
from safetensors.torch import load_file

import layerlimits.recovery.memory as memory_module
from layerlimits.errors import UserError
from layerlimits.models.load import Loaded
from layerlimits.recovery.finetune import finetune
from layerlimits.recovery.memory import MemoryWatch, longest_batch
from layerlimits.recovery.settings import FinetuneConfig
from layerlimits.resources import is_out_of_memory

pytest_plugins = ["recovery_fixtures"]


def test_the_longest_batch_is_padded() -> None:
    assert longest_batch([3, 9, 4, 4, 10], 2) == 18
    assert longest_batch([3, 9, 4, 4, 10], 1) == 10
    assert longest_batch([3, 9], 8) == 18


def _square(weight: torch.nn.Parameter, rows: int) -> torch.Tensor:
    loss = (torch.ones(rows, weight.shape[0]) @ weight).pow(2).sum()
    loss.backward()
    return loss


def test_what_a_forward_pass_keeps_is_counted_once_and_without_weights() -> None:
    layer = torch.nn.Linear(64, 64, bias=False)
    watch = MemoryWatch(longest=10, room=10**9)
    watch.step(lambda: _square(layer.weight, 10), layer, tokens=10)
    # The input of the product and its result, 10 rows of 64 numbers of 4 bytes each.
    assert watch._kept == 2 * 10 * 64 * 4
    # A batch of 10 times the tokens would not fit.
    small = MemoryWatch(longest=100, room=20_000)
    with pytest.raises(RuntimeError) as raised:
        small.step(lambda: _square(layer.weight, 10), layer, tokens=10)
    assert is_out_of_memory(raised.value)
    # Nor would this one, which is not computed to its end.
    with pytest.raises(RuntimeError, match="activations need"):
        MemoryWatch(longest=10, room=2_000).step(lambda: pytest.fail(str(_square(layer.weight, 10))), layer, tokens=10)


@pytest.mark.parametrize("settings", [QUICK, replace(QUICK_LORA, lora_dropout=0.0)], ids=["full", "lora"])
def test_batches_are_divided_until_they_fit_and_the_result_is_the_same(
    base: Loaded, tmp_path: Path, settings: FinetuneConfig, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    whole = finetune(base, (1,), EXAMPLES, settings, tmp_path / "w1", tmp_path / "whole", {})
    assert "at a time" not in capsys.readouterr().err
    kept: list[int] = []
    original = MemoryWatch.step

    def spy(self: MemoryWatch, *args: Any) -> Any:
        result = original(self, *args)
        kept.append(self._kept)
        return result

    monkeypatch.setattr(MemoryWatch, "step", spy)
    finetune(base, (1,), EXAMPLES, replace(settings, seed=1), tmp_path / "w2", tmp_path / "measured", {})
    capsys.readouterr()
    # Room for less than the first batch.
    monkeypatch.setattr(memory_module, "free_memory", lambda: int(kept[0] * 0.9 / memory_module._SHARE))
    parts = finetune(base, (1,), EXAMPLES, settings, tmp_path / "w3", tmp_path / "parts", {})
    assert "note: out of memory; finetuning on" in capsys.readouterr().err
    expected, actual = load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors")
    for name, weight in expected.items():
        torch.testing.assert_close(actual[name], weight, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(memory_module, "free_memory", lambda: 1000)
    with pytest.raises(UserError, match="not enough memory to finetune on one example"):
        finetune(base, (1,), EXAMPLES, settings, tmp_path / "w4", tmp_path / "none", {})
