"""Files of a checkpoint beside its weights: what `prune` copies, and what the fingerprint covers. About 5 s."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits.models.locate import fingerprint
from layerlimits.models.save import write_checkpoint

COPIED = [
    "additional_chat_templates/tools.jinja",
    "qwen.tiktoken",
    "sentencepiece.bpe.model",
    "emoji.json",
    "USE_POLICY.md",
    "license.md",
    "MODEL_LICENSE",
    "COPYING",
    "Notice.txt",
    "processor_config.json",
    # Not reported, of the same kind:
    "vocab.bpe",
    "preprocessor_config.json",
    "THIRD_PARTY_NOTICES",
    "Licence.pdf",
]
LEFT = ["modeling_mine.py", "pytorch_model.bin", "model.gguf", ".gitattributes", "tokenizer_x/vocab.json"]
HASHED = ["vocab.txt", "special_tokens_map.json", "added_tokens.json", "vocab.bpe", "qwen.tiktoken", "a.bpe.model"]
CODE = {"AutoConfig": "configuration_mine.Mine"}


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def put(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text('{"a": 1}')


def test_prune_copies_companions_and_no_code(folder: Path, says: Callable[..., Any], tmp_path: Path) -> None:
    for name in COPIED + LEFT:
        put(folder, name)
    out = tmp_path / "out"
    put(folder, "README.md")
    says("prune", folder, "--remove", 1, "--out", out)
    assert {name: (out / name).read_text() for name in COPIED} == dict.fromkeys(COPIED, '{"a": 1}')
    assert [name for name in LEFT if (out / name).exists()] == []
    # The card is that of the pruned model.
    assert "That of the base model" in (out / "README.md").read_text()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
def test_references_to_code_are_removed(name: str, folder: Path, says: Callable[..., Any], tmp_path: Path) -> None:
    file = folder / name
    content = json.loads(file.read_text()) if file.exists() else {"a": 1}
    file.write_text(json.dumps(content | {"auto_map": CODE}))
    says("prune", folder, "--remove", 1, "--out", tmp_path / "out")
    written = json.loads((tmp_path / "out" / name).read_text())
    assert "auto_map" not in written
    assert "auto_map" in json.loads(file.read_text())
    assert set(content) - {"auto_map"} <= set(written)


@pytest.mark.parametrize("name", HASHED)
def test_the_fingerprint_covers_every_file_of_the_tokenizer(name: str, folder: Path) -> None:
    prints = [fingerprint(folder)]
    for text in ("{}", '{"a": 1}'):
        (folder / name).write_text(text)
        prints.append(fingerprint(folder))
    assert len(set(prints)) == 3


def test_the_fingerprint_ignores_licences(folder: Path) -> None:
    before = fingerprint(folder)
    put(folder, "COPYING")
    assert fingerprint(folder) == before


def test_a_checkpoint_from_memory_gets_them_too(folder: Path, tmp_path: Path) -> None:
    from layerlimits.models.load import load

    for name in COPIED + LEFT:
        put(folder, name)
    model = load(str(folder), device="cpu")
    out = write_checkpoint(model.model, folder, tmp_path / "out", {})
    assert [name for name in COPIED if not (out / name).exists()] == []
    assert [name for name in LEFT if (out / name).exists()] == []
