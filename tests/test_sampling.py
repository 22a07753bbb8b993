"""Seeds, temperatures and numbers of items and samples: every command refuses those outside their range at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from layerlimits.errors import UserError
from layerlimits.sampling import MAX_ITEMS, MAX_SAMPLES, MAX_SEED, MIN_TEMPERATURE, Decoding, check_items, check_seed

Refused = Callable[..., str]

# What each command that takes a seed needs beside it.
COMMANDS: dict[str, tuple[str, ...]] = {
    "evaluate": ("evaluate", "MODEL", "--tasks", "facts", "--limit", "2"),
    "compare": ("compare", "MODEL", "reference", "--tasks", "facts", "--limit", "2"),
    "sweep": ("sweep", "MODEL", "--tasks", "facts", "--limit", "2"),
    "rank": ("rank", "MODEL", "--method", "random"),
    "prune": ("prune", "MODEL", "--method", "random", "--layers", "1", "--out", "OUT"),
    "prune listed": ("prune", "MODEL", "--remove", "1", "--out", "OUT"),
    "recover": ("recover", "MODEL", "--parent", "reference", "--out", "OUT"),
    "study": ("study", "MODEL", "--out", "OUT"),
    "study --plan": ("study", "MODEL", "--out", "OUT", "--plan"),
}


def _typed(command: str, tiny: Path, out: Path) -> list[object]:
    places = {"MODEL": tiny, "OUT": out}
    return [places.get(word, word) for word in COMMANDS[command]]


@pytest.mark.parametrize("seed", [-1, MAX_SEED + 1, 2**64 - 1, 10**40])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_seed_outside_its_range(command: str, seed: int, refused: Refused, tiny: Path, tmp_path: Path) -> None:
    said = refused(*_typed(command, tiny, tmp_path / "out"), "--seed", seed)
    assert "is not between 0 and 4294967295" in said
    assert list(tmp_path.iterdir()) == []


def test_the_largest_seed_is_taken(says: Callable[..., object], tiny: Path) -> None:
    assert check_seed(MAX_SEED) == MAX_SEED
    says("rank", tiny, "--method", "random", "--items", 2, "--seed", MAX_SEED)


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ("-1", "seed -1 is not between 0 and 4294967295"),
        (str(2**32), "seed 4294967296 is not between 0 and 4294967295"),
        ("'one'", "is 'one', not an integer"),
        ("true", "is True, not an integer"),
        ("1.5", "is 1.5, not an integer"),
    ],
)
def test_a_seed_of_a_recipe(seed: str, words: str, refused: Refused, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f"seed = {seed}\nrow_tokens = 64\nmodel = 1\nmix = 1\nphase = 1\n")
    said = refused("reference", "train", "--recipe", recipe, "--out", tmp_path / "out", "--work", tmp_path / "work")
    assert words in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("temperature", ["inf", "nan", "1e-40", "1e-4", "1e30"])
@pytest.mark.parametrize("command", ["evaluate", "sweep", "study", "study --plan"])
def test_a_temperature_that_cannot_be_drawn_with(
    command: str, temperature: str, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    said = refused(*_typed(command, tiny, tmp_path / "out"), "--temperature", temperature)
    assert f"temperature {float(temperature):g}" in said
    assert "between 0.001 and 1000" in said
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_temperature_gives_finite_probabilities() -> None:
    logits = torch.tensor([3e4, -3e4, 0.0], dtype=torch.float32)
    assert torch.isfinite(torch.softmax(logits / MIN_TEMPERATURE, -1)).all()
    assert Decoding(temperature=MIN_TEMPERATURE).temperature == MIN_TEMPERATURE


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"top_p": 0.0}, "top_p 0 is not in"),
        ({"top_p": float("nan")}, "top_p nan"),
        ({"top_k": -1}, "top_k -1 is negative"),
        ({"temperature": 1.0, "samples": 0}, "samples 0"),
        ({"temperature": 1.0, "samples": MAX_SAMPLES + 1}, "not between 1 and 10000"),
        ({"samples": 2}, "would be identical"),
        ({"max_new_tokens": 0}, "max_new_tokens 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_sampling_settings_outside_their_range(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Decoding(**settings)


@pytest.mark.parametrize("samples", [MAX_SAMPLES + 1, 10**9, 10**25])
@pytest.mark.parametrize("command", ["evaluate", "sweep", "study"])
def test_more_samples_than_anyone_waits_for(
    command: str, samples: int, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    said = refused(*_typed(command, tiny, tmp_path / "out"), "--temperature", 1, "--samples", samples)
    assert "not between 1 and 10000" in said


@pytest.mark.parametrize("count", [MAX_ITEMS + 1, 10**9, 10**40])
@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("evaluate", "--limit"),
        ("sweep", "--limit"),
        ("rank", "--items"),
        ("prune", "--items"),
        ("study", "--limit"),
        ("study --plan", "--limit"),
    ],
)
def test_more_items_than_there_can_be(
    command: str, option: str, count: int, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    assert "is not between 1 and 100000" in refused(*_typed(command, tiny, tmp_path / "out"), option, count)
    with pytest.raises(UserError, match="not between 1 and 100000"):
        check_items(count)


def test_more_training_prompts_or_epochs_than_there_can_be(refused: Refused, pair: tuple[Path, Path]) -> None:
    parent, pruned = pair
    command = ("recover", pruned, "--parent", parent, "--out", pruned.with_name("out"))
    assert "not between 1 and 100000" in refused(*command, "--items", 10**9)
    assert "epochs 1000000000 is above 1000" in refused(*command, "--epochs", 10**9)


@pytest.fixture
def pair(tiny: Path, tmp_path: Path, says: Callable[..., object]) -> tuple[Path, Path]:
    """A model, and the same without a layer."""
    says("prune", tiny, "--remove", 1, "--out", tmp_path / "pruned")
    return tiny, tmp_path / "pruned"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("seed = -1", "seed: seed -1 is not between 0 and 4294967295"),
        ("seed = 18446744073709551616", "seed: seed 18446744073709551616 is not between"),
        ("seed = true", "seed: "),
        ("seed = '3'", "seed: "),
        ("limit = true", "limit: "),
        ("limit = 7.0", "limit: "),
        ("limit = 1000000000", "limit: items 1000000000 is not between 1 and 100000"),
        ("select_items = false", "select_items: "),
        ("calibration_items = 0", "calibration_items: items 0 is not between"),
        ("recovery = {items = 1000000000}", "recovery.items: "),
        ("recovery = {epochs = true}", "recovery.epochs: "),
        ("recovery = {epochs = 1000000000}", "recovery.epochs: "),
        ("recovery = {ratios = [nan]}", "recovery.ratios.0: "),
        ("temperature = inf", "temperature: temperature inf is neither 0 nor between 0.001 and 1000"),
        ("temperature = nan", "temperature: temperature nan"),
        ("temperature = 1e-40", "temperature: temperature 1e-40"),
        ("temperature = true", "temperature: "),
        ("top_p = nan", "top_p: top_p nan is not in"),
        ("difference = nan", "difference: "),
        ("ratios = [nan]", "ratios.0: "),
        ("ratios = [true]", "ratios.0: "),
        ("protect = [true]", "protect.0: "),
        ("chat = 1", "chat: "),
        ("unsafe_code = 'yes'", "unsafe_code: "),
        ("temperature = 1\nsamples = 1000000000", "samples 1000000000 is not between 1 and 10000"),
        ("speed_repeats = 1000000000", "speed_repeats: "),
    ],
)
def test_values_of_a_toml_file_are_checked_like_flags(
    line: str, words: str, refused: Refused, tiny: Path, tmp_path: Path
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(line + "\n")
    said = refused("study", tiny, "--config", file, "--out", tmp_path / "run")
    assert said.startswith("error: 1 invalid setting: ")
    assert words in said
    assert not (tmp_path / "run").exists()
