"""Models of a few thousand weights for the tests of recovery, each made once a session."""

from pathlib import Path

import pytest
from recovery_models import EXAMPLES, LEARNING
from small_models import saved, small_llama

import layerlimits.recovery.trainer as trainer_module
from layerlimits.models.load import Loaded, load
from layerlimits.models.save import save_pruned
from layerlimits.recovery.finetune import finetune
from layerlimits.types import PrunePlan


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """An untrained Llama of 4 layers with the reference tokenizer."""
    model = small_llama(4, max_position_embeddings=128, tie_word_embeddings=True, initializer_range=0.1)
    folder = saved(model, tmp_path_factory.mktemp("models") / "base")
    return load(str(folder), device="cpu")


@pytest.fixture(scope="session")
def taught(base: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """The base model finetuned until it has memorized the examples."""
    folder = tmp_path_factory.mktemp("taught")
    return load(str(finetune(base, (), EXAMPLES, LEARNING, folder / "work", folder / "model", {})), device="cpu")


@pytest.fixture
def save_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a checkpoint after every step."""
    monkeypatch.setattr(trainer_module, "SAVE_EVERY_S", 0.0)
    monkeypatch.setattr(trainer_module, "_TRAINING_PER_SAVING", 0)


@pytest.fixture(scope="session")
def pruned(taught: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The memorizing model without its first two layers, with the recipe of the removal."""
    return save_pruned(
        taught.folder, taught.ref, PrunePlan((0, 1), 4), tmp_path_factory.mktemp("pruned") / "model", "prune it"
    )
