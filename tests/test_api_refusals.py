"""The Python API refuses bad input with the errors of the command line, before weights load."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import layerlimits as ll
from layerlimits.models import load as loading


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading any model fails the test."""

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("weights were loaded before the mistake was reported")

    # Not `load`, which a module that is first imported by the test would keep under its own name.
    monkeypatch.setattr(loading, "_read", fail)


def _occupied(folder: Path) -> Path:
    (folder / "notes.txt").write_text("mine")
    return folder


CALLS: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "unknown task": (lambda model, _: ll.sweep(model, "arithmetics"), "did you mean arithmetic"),
    "no task": (lambda model, _: ll.evaluate(model, []), "no task given"),
    "a task with two settings": (
        lambda model, _: ll.evaluate(model, ["facts", *ll.get_tasks("facts", chat=False)]),
        "task facts is listed twice",
    ),
    "a task with two settings, in a suite": (
        lambda model, _: ll.sweep(model, [*ll.get_tasks("reference", chat=True), "brackets"]),
        "task brackets is listed twice",
    ),
    "occupied run folder": (lambda model, out: ll.evaluate(model, "facts", out=_occupied(out)), "is not empty"),
    "no model": (lambda _, out: ll.rank(out / "gone", "reverse"), "no such folder"),
    "unknown method": (lambda model, _: ll.rank(model, "revers"), "did you mean reverse"),
    "one unknown method": (lambda model, _: ll.compare_methods(model, ["random", "revers"]), "did you mean reverse"),
    "no method": (lambda model, _: ll.compare_methods(model, []), "no method given"),
    "too many layers": (lambda model, _: ll.rank(model, "reverse", ll.RankOptions(layers=6)), "cannot remove 6 layers"),
    "unknown replacement": (
        lambda model, out: ll.prune(model, out / "p", ll.PruneOptions(remove=(1,), replacement="liner")),
        "did you mean linear",
    ),
    "occupied checkpoint": (
        lambda model, out: ll.prune(model, _occupied(out), ll.PruneOptions(remove=(1,))),
        "is not empty",
    ),
    "no calibration text": (
        lambda model, out: ll.rank(model, "taylor", ll.RankOptions(calibration=str(out / "gone.txt"))),
        "gone.txt",
    ),
    "not a pair": (lambda model, out: ll.recover(model, model, out / "r"), "has 6 layers and its parent"),
    "chat settings that differ": (
        lambda model, out: ll.recover(
            model, model, out / "r", [*ll.get_tasks("facts", chat=True), *ll.get_tasks("brackets", chat=False)]
        ),
        "differ in their chat setting",
    ),
    "a study of a model that is not there": (
        lambda _, out: ll.plan(ll.StudyConfig(model=str(out / "gone")), out / "run"),
        "no such folder",
    ),
    "no run": (lambda _, out: ll.open_run(out), "run folder"),
}


@pytest.mark.parametrize("name", CALLS)
def test_mistakes_are_refused_before_weights_load(name: str, tiny: Path, tmp_path: Path, no_weights: None) -> None:
    call, words = CALLS[name]
    with pytest.raises(ll.UserError) as refused:
        call(tiny, tmp_path)
    assert words in str(refused.value)
    assert refused.value.fix


@pytest.mark.parametrize("layers", [[6], [-1], [1, 1], range(6)])
def test_layers_that_cannot_be_left_out(layers: list[int], tiny: Path, no_weights: None) -> None:
    with pytest.raises(ll.UserError), ll.without_layers(tiny, layers):
        pass


SETTINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "limit": (lambda: ll.EvalOptions(limit=0), "limit 0 is not between"),
    "batch_size": (lambda: ll.EvalOptions(batch_size=0), "batch_size is 0"),
    "max_rows": (lambda: ll.RankOptions(max_rows=-1), "max_rows is -1"),
    "difference": (lambda: ll.EvalOptions(difference=0.7), "0.7"),
    "items": (lambda: ll.RecoverOptions(items=0), "items 0 is not between"),
    "max_new_tokens": (lambda: ll.RecoverOptions(max_new_tokens=0), "max_new_tokens is 0"),
    "seed": (lambda: ll.RankOptions(seed=-1), "seed -1"),
    "kind": (lambda: ll.FinetuneConfig(kind="half"), "half"),  # type: ignore[arg-type]  # refused
    "preset": (lambda: ll.StudyConfig(preset="quik"), "did you mean quick"),
    "several": (
        lambda: ll.StudyConfig(limit=0, ratios=(2.0,), methods=("revers",)),  # all of them at once
        "3 invalid settings",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_checked_when_they_are_made(name: str) -> None:
    make, words = SETTINGS[name]
    with pytest.raises(ll.UserError) as refused:
        make()
    assert words in str(refused.value)


def test_paths_may_be_text() -> None:
    options: Any = ll.EvalOptions
    assert options(data_dir="data").data_dir == Path("data")
    assert ll.RankOptions(data_dir=Path("data")).data_dir == Path("data")


@pytest.mark.parametrize("preset", ["quick", "standard", "paper"])
def test_a_configuration_applies_its_preset(preset: str) -> None:
    assert ll.StudyConfig(preset=preset) == ll.study_config(preset)


def test_settings_are_over_the_preset() -> None:
    config = ll.StudyConfig(preset="paper", limit=7, ratios=(0.3,))
    assert (config.limit, config.top_k, config.recovery.items) == (7, 50, 50_000)
    # The preset's own recovery ratio is not among those given.
    assert config.recovery_ratios == (0.3,)


def test_a_preset_named_in_a_file_is_applied(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('preset = "standard"\nselect_items = 5\n')
    config = ll.study_config("quick", file, limit=9)
    assert (config.preset, config.limit, config.select_items, config.calibration_items) == ("standard", 9, 5, 256)
