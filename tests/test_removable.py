"""What `prune` cannot remove has no figures either: the same check for every command that removes layers."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from architectures import REFUSED, tiny_model

from layerlimits import api
from layerlimits.errors import UserError

# Decoders that can be saved and loaded; each shares something between its layers, or computes with their numbers.
NAMES = ("zamba2", "jamba", "diffllama", "gemma3n_text", "gpt2")
COMMANDS = (
    ("prune", "--remove", "3", "--out"),
    ("sweep", "--tasks", "facts", "--limit", "2", "--out"),
    ("rank", "--method", "block_influence", "--out"),
    ("study", "--tasks", "facts", "--limit", "2", "--out"),
)


@pytest.fixture(scope="module", params=NAMES)
def folder(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of an architecture that cannot lose layers, with the tokenizer of the tiny model."""
    fields, _ = REFUSED[request.param]
    path = tmp_path_factory.mktemp(request.param)
    tiny_model(request.param, **fields).save_pretrained(path)
    for file in tiny.iterdir():
        if "token" in file.name or file.suffix == ".jinja":
            shutil.copyfile(file, path / file.name)
    return path


def test_every_command_refuses_with_the_same_words(folder: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    said = {refused(name, folder, *flags, tmp_path / name).partition("\n")[0] for name, *flags in COMMANDS}
    assert len(said) == 1
    assert REFUSED[folder.name.rstrip("0")][1] in said.pop()
    assert list(tmp_path.iterdir()) == []


def test_the_functions_of_the_api_refuse_a_model_in_memory(folder: Path) -> None:
    model = api.load(folder, dtype="float32", device="cpu")
    for ask in (
        lambda: api.sweep(model, api.get_tasks("facts"), api.EvalOptions(limit=2)),
        lambda: api.rank(model, "reverse"),
        lambda: api.compare_methods(model, ["reverse"]),
    ):
        with pytest.raises(UserError):
            ask()
