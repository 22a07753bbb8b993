"""Models of a few thousand weights for the tests of recovery, each made once a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from recovery_models import EXAMPLES, LEARNING
from transformers import LlamaConfig, LlamaForCausalLM

import layerlimits.recovery.trainer as trainer_module
from layerlimits.models.load import Loaded, load
from layerlimits.models.save import save_pruned
from layerlimits.recovery.finetune import finetune
from layerlimits.reference.tokenizer import build
from layerlimits.types import PrunePlan


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """One core from here on: threads that wait for each other make so small models many times slower."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def base(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """An untaught Llama of 4 layers with the reference tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "base"
    tokenizer = build()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=4,
        vocab_size=len(tokenizer),
        max_position_embeddings=128,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load(str(folder), device="cpu")


@pytest.fixture(scope="session")
def taught(base: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The base finetuned until it knows the examples by heart."""
    folder = tmp_path_factory.mktemp("taught")
    return load(str(finetune(base, (), EXAMPLES, LEARNING, folder / "work", folder / "model", {})), device="cpu")


@pytest.fixture
def save_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step."""
    monkeypatch.setattr(trainer_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(trainer_module, "_TRAINING_PER_SAVING", 0)


@pytest.fixture(scope="session")
def pruned(taught: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The taught model without its first two layers, with the recipe of that."""
    return save_pruned(taught, PrunePlan((0, 1), 4), tmp_path_factory.mktemp("pruned") / "model", "prune it")
