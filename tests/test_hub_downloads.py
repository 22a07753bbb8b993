"""What is downloaded of a model on the Hub: its configuration, then the weights that are loaded, and nothing else."""

import json
import shutil
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from layerlimits import api, hub
from layerlimits.errors import UserError
from layerlimits.models.locate import locate
from layerlimits.study.config import study_config

UNWANTED = (
    "consolidated.safetensors",
    "original/consolidated.00.pth",
    "original/params.json",
    "checkpoint-100/model.safetensors",
    "checkpoint-100/config.json",
    "adapter_model.safetensors",
    "adapter_config.json",
    "model.fp16.safetensors",
    "model.fp16.safetensors.index.json.bak",
    "pytorch_model.bin",
    "model.gguf",
    "onnx/model.onnx",
    "modeling_own.py",
    "README.md",
    "figures/scores.png",
)
COMPANIONS = (
    "additional_chat_templates/tool_use.jinja",
    "USE_POLICY.md",
    "LICENSE",
    "license.md",
    "MODEL_LICENSE",
    "Notice.txt",
    "emoji.json",
    "qwen.tiktoken",
    "sentencepiece.bpe.model",
)


class FakeHub:
    """A repository in a folder, which is downloaded into another; records what was downloaded, and when."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository, self.cache, self.calls = repository, cache, list[set[str]]()

    def snapshot_download(
        self,
        model: str,
        *,
        revision: str | None = None,
        allow_patterns: Sequence[str],
        ignore_patterns: Sequence[str] = (),
    ) -> str:
        files = [file for file in self.repository.rglob("*") if file.is_file()]
        names = {str(file.relative_to(self.repository)) for file in files}
        chosen = {
            name
            for name in names
            if any(fnmatch(name, pattern) for pattern in allow_patterns)
            and not any(fnmatch(name, pattern) for pattern in ignore_patterns)
        }
        for name in chosen:
            (self.cache / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.repository / name, self.cache / name)
        self.calls.append(chosen)
        return str(self.cache)

    @property
    def downloaded(self) -> set[str]:
        return set().union(*self.calls)


@pytest.fixture
def repository(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(Path(shutil.copytree(tiny, tmp_path / "repository")), tmp_path / "cache")
    for name in (*UNWANTED, *COMPANIONS):
        (fake.repository / name).parent.mkdir(exist_ok=True)
        (fake.repository / name).write_text("{}")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(hub, "unreachable", lambda: "")
    return fake


def _set(folder: Path, **fields: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))


def test_only_what_is_loaded_is_downloaded(repository: FakeHub) -> None:
    assert locate("owner/name") == repository.cache
    assert repository.downloaded.isdisjoint(UNWANTED)
    assert repository.downloaded.issuperset(COMPANIONS)
    assert "model.safetensors" not in repository.calls[0]
    assert "model.safetensors" in repository.calls[1]
    # It is a model that works.
    assert api.evaluate("owner/name", api.get_tasks("facts"), api.EvalOptions(limit=1)).scores


def test_the_index_names_the_weights(repository: FakeHub) -> None:
    single = repository.repository / "model.safetensors"
    single.rename(single.with_name("model-00001-of-00001.safetensors"))
    for name in ("model-00001-of-00002.safetensors", "consolidated-00001-of-00001.safetensors"):
        (repository.repository / name).write_text("")
    weights = {"model.embed_tokens.weight": "model-00001-of-00001.safetensors"}
    (repository.repository / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    locate("owner/name")
    safetensors = {name for name in repository.downloaded if name.endswith(".safetensors")}
    assert safetensors == {"model-00001-of-00001.safetensors"}


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ({"model_type": "no_such_type"}, "no_such_type"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers is 'many'"),
        ({"is_encoder_decoder": True, "model_type": "t5"}, "t5"),
    ],
)
def test_a_configuration_is_refused_before_weights_are_downloaded(
    repository: FakeHub, fields: dict[str, Any], problem: str
) -> None:
    _set(repository.repository, **fields)
    config = study_config("quick", model="owner/name")
    for ask in (lambda: locate("owner/name"), lambda: api.plan(config)):
        with pytest.raises(UserError) as refused:
            ask()
        assert problem in refused.value.problem
    assert not any(name.endswith(".safetensors") for name in repository.downloaded)


@pytest.mark.parametrize("missing", ["config.json", "everything"])
def test_a_repository_without_a_model_is_refused(repository: FakeHub, missing: str) -> None:
    (repository.repository / "config.json").unlink()
    if missing == "everything":
        shutil.rmtree(repository.repository)
        repository.cache.mkdir()
    with pytest.raises(UserError, match=r"it has no config\.json"):
        locate("owner/name")
    assert not any(name.endswith(".safetensors") for name in repository.downloaded)


def test_an_index_that_leaves_the_folder_downloads_nothing(repository: FakeHub) -> None:
    (repository.repository / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"model.embed_tokens.weight": "../../secret.safetensors"}})
    )
    with pytest.raises(UserError, match="outside the model folder"):
        locate("owner/name")
    assert len(repository.calls) == 1
