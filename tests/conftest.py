"""One thread a process, and a small random model with the reference tokenizer, made once a session."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from layerlimits.models.load import Loaded, load
from layerlimits.reference.tokenizer import build

torch.set_num_threads(1)

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real benchmark items, which is not part of the repository."""
    if not DATA.is_dir():
        pytest.skip(f"needs the benchmark items of {DATA}, which are not part of the repository")
    return DATA


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untaught Llama of 6 layers with a licence beside it."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = build()
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_hidden_layers=6,
        vocab_size=len(tokenizer),
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "LICENSE").write_text("The licence of the base model.\n")
    return folder


@pytest.fixture
def loaded(tiny: Path) -> Loaded:
    """That model in memory, a fresh one each time: tests may change it."""
    return load(str(tiny), device="cpu")
