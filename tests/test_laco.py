"""LaCo's search against the algorithm written out on copies of the model."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from oracles import cosine
from torch import nn

from layerlimits.errors import UserError
from layerlimits.evaluation.calibration import calibration
from layerlimits.methods import Context, rank
from layerlimits.methods.laco import _Search, laco


@pytest.fixture
def calm(context: Context) -> Context:
    """A model with small layer outputs, so that merging some layers preserves the final states."""
    model = context.model
    with torch.no_grad():
        for number, layer in enumerate(model.model.layers):
            for weight in (layer.self_attn.o_proj.weight, layer.mlp.down_proj.weight):
                weight.mul_(0.004 + 0.006 * ((number * 5) % 4))
    return replace(context, calibration=calibration(context.tokenizer, 6))


def _states(network: Any, texts: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return [network.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0] for ids in texts]


def _merge(layers: Any, into: int, absorbed: list[int], form: str) -> None:
    """The paper's formula, or its authors' loop, which adds to the matrix that it has just changed."""
    theta = {name: weight.clone() for name, weight in layers[into].named_parameters()}
    for name, weight in layers[into].named_parameters():
        for k in absorbed:
            other = layers[k].get_parameter(name)
            if form == "paper":
                weight.add_(other - theta[name])
            elif name.endswith("proj.weight"):
                weight.add_(other - weight)


def _slow(
    context: Context, size: int, interval: int, threshold: float, count: int, form: str = "paper"
) -> list[list[Any]]:
    """The merges of the algorithm, on a copy whose layers are deleted and renumbered after each merge."""
    network = copy.deepcopy(context.model).double()
    base = _states(network, context.calibration.ids)
    numbers, merges, gone = list(range(6)), [], 0
    place = 6 - size
    while place >= 0 and gone < count:
        trial = copy.deepcopy(network)
        layers = trial.model.layers
        absorbed = list(range(place + 1, min(place + size, len(layers))))[: count - gone]
        with torch.no_grad():
            _merge(layers, place, absorbed, form)
        trial.model.layers = nn.ModuleList(layer for k, layer in enumerate(layers) if k not in absorbed)
        texts = []
        for now, before in zip(_states(trial, context.calibration.ids), base, strict=True):
            cosines = [cosine(state, reference) for state, reference in zip(now, before, strict=True)]
            texts.append(sum(cosines) / len(cosines))
        if absorbed and sum(texts) / len(texts) > threshold:
            network = trial
            merges.append([numbers[place], [numbers[k] for k in absorbed]])
            numbers = [number for k, number in enumerate(numbers) if k not in absorbed]
            gone += len(absorbed)
            place = min(place - interval, len(numbers) - size)
        else:
            place -= 1
    return merges


@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize(
    ("size", "interval", "threshold", "count"), [(2, 1, 0.9, 3), (3, 2, 0.6, 4), (2, 2, 0.95, 2), (4, 1, -1.0, 5)]
)
def test_merges_are_those_of_the_algorithm(
    size: int, interval: int, threshold: float, count: int, form: str, calm: Context
) -> None:
    slow = _slow(calm, size, interval, threshold, count, form)
    assert slow
    before = {name: weight.clone() for name, weight in calm.model.named_parameters()}
    ranking = laco(replace(calm, layers=count), size=size, interval=interval, threshold=threshold, form=form)
    assert ranking.detail["merges"] == slow
    assert list(ranking.order) == [layer for _, absorbed in slow for layer in absorbed]
    after = dict(calm.model.named_parameters())
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_threshold_that_lets_too_few_merge_is_an_error(calm: Context) -> None:
    with pytest.raises(UserError, match=r"laco:threshold=0\.999999 selects 0 of 3 layers to remove"):
        rank("laco:threshold=0.999999", calm)


def test_without_a_threshold_the_highest_that_is_enough_is_taken(calm: Context) -> None:
    free = laco(calm)
    assert len(free.order) == 3
    limit = free.detail["threshold"]
    assert laco(calm, threshold=limit).order == free.order
    assert limit > 0
    assert len(laco(calm, threshold=limit + 0.1).order) < 3


def test_a_negative_cosine_is_never_taken_unless_asked_for(calm: Context) -> None:
    search = replace(calm, layers=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Search, "_cosine", lambda self, merges: -0.1)
        assert laco(search).order == ()
        with pytest.raises(UserError, match="laco selects 0 of 2 layers to remove"):
            rank("laco", search)
        assert len(laco(search, threshold=-1.0).order) == 2


def test_an_unknown_form_is_refused(calm: Context) -> None:
    with pytest.raises(UserError, match="unknown form 'both'") as refused:
        rank("laco:form=both", calm)
    assert "form=paper or form=code" in refused.value.fix


def test_each_number_of_layers_has_a_plan_of_its_own(calm: Context) -> None:
    whole = laco(replace(calm, layers=4), size=3)
    for count in range(1, 5):
        assert whole.plan(count) == laco(replace(calm, layers=count), size=3).order
        assert len(whole.plan(count)) == count


def test_only_layers_in_the_range_merge_and_protected_ones_are_not_absorbed(calm: Context) -> None:
    ranking = laco(replace(calm, layers=2, protected=(3,)), size=2, low=1, high=5, threshold=-1.0)
    assert 3 not in ranking.order
    assert set(ranking.order) <= {2, 4}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("laco:size=1", "laco: invalid size=1 or interval=2"),
        ("laco:interval=0", "laco: invalid size=4 or interval=0"),
        ("laco:low=4:high=3", "laco: invalid layer range low=4, high=3"),
        ("laco:high=9", "laco: invalid layer range low=0, high=9 for a model with 6 layers"),
    ],
)
def test_options_out_of_range(spec: str, words: str, calm: Context) -> None:
    with pytest.raises(UserError, match=words):
        rank(spec, calm)
