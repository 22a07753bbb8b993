"""The probe of a model on this machine, and the rates that are kept of it."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.study import rates
from layerlimits.study.config import StudyConfig
from layerlimits.study.probe import rates_of
from layerlimits.study.rates import Rates, kept_rates
from layerlimits.study.resolved import ResolvedStudy, resolve
from layerlimits.study.session import ask_options


@pytest.fixture(scope="module")
def study(tiny: Path) -> ResolvedStudy:
    tasks = ("facts", "word_problems", "facts_choice")
    return resolve(StudyConfig(model=str(tiny), tasks=tasks, limit=20, calibration_items=4, recovery={"items": 8}))


@pytest.fixture
def evaluator(study: ResolvedStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Evaluator]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with Store(tmp_path / "run") as store:
        yield Evaluator(load(study.config.model, device="cpu"), store, ask_options(study.config))


def test_a_probe_measures_every_rate_and_leaves_no_trace(study: ResolvedStudy, evaluator: Evaluator) -> None:
    model = evaluator.loaded.model
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    needed = [weight.requires_grad for weight in model.parameters()]
    measured = rates_of(study, evaluator, 5.0)
    assert measured.prompt_token > 0
    assert measured.new_token > 0
    assert measured.training_token > 0
    assert 0 < measured.shared_choice <= 1
    assert 0 < measured.shared_generation <= 1
    assert set(measured.new_tokens) == {"facts", "word_problems"}
    limits = {task.name: task.max_new_tokens for task in study.tasks}
    assert all(0 < tokens <= limits[name] for name, tokens in measured.new_tokens.items())
    assert not list(evaluator.store.export())
    assert all(torch.equal(before[name], weight) for name, weight in model.state_dict().items())
    assert [weight.requires_grad for weight in model.parameters()] == needed
    assert all(weight.grad is None for weight in model.parameters())


def test_rates_are_kept_for_a_day(study: ResolvedStudy, evaluator: Evaluator) -> None:
    calls: list[int] = []

    def measure() -> Rates:
        calls.append(1)
        return Rates(float(len(calls)), 2.0)

    assert kept_rates(study, evaluator, measure).prompt_token == 1
    assert kept_rates(study, evaluator, measure).prompt_token == 1
    file = rates._file(study, evaluator)
    yesterday = time.time() - 25 * 3600
    os.utime(file, (yesterday, yesterday))
    assert kept_rates(study, evaluator, measure).prompt_token == 2


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"prompt_token": 1}', '{"prompt_token": -1, "new_token": 1}', "\0"]
)
def test_a_damaged_file_of_rates_is_measured_again(content: str, study: ResolvedStudy, evaluator: Evaluator) -> None:
    file = rates._file(study, evaluator)
    file.parent.mkdir(parents=True)
    file.write_text(content)
    assert kept_rates(study, evaluator, lambda: Rates(3.0, 4.0)) == Rates(3.0, 4.0)
    assert json.loads(file.read_text())["prompt_token"] == 3


def test_a_cache_that_cannot_be_written_is_no_error(
    study: ResolvedStudy, evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert kept_rates(study, evaluator, lambda: Rates(3.0, 4.0)) == Rates(3.0, 4.0)


def test_other_models_tasks_and_settings_have_rates_of_their_own(study: ResolvedStudy, evaluator: Evaluator) -> None:
    fewer = resolve(StudyConfig(model=study.config.model, tasks=("facts",), limit=20, calibration_items=4))
    assert rates._file(fewer, evaluator) != rates._file(study, evaluator)
