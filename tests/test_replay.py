"""Going on from the middle of a pass gives what the whole pruned model gives, on every architecture; and what is read
between the layers is right there too.
"""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from oracles import cosine, deleted, loss, streams

from layerlimits.evaluation.calibration import Calibration
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.methods import Context
from layerlimits.methods.angular import angular
from layerlimits.methods.block_influence import block_influence
from layerlimits.methods.taylor import taylor
from layerlimits.models.load import Loaded
from layerlimits.models.losses import pair_losses
from layerlimits.models.remove import without_layers
from layerlimits.models.replay import Pass
from layerlimits.models.stack import find_stack
from layerlimits.models.stream import batches
from layerlimits.types import Text

TEXTS = [tuple(range(3, 25)), tuple(range(40, 20, -1)), (7, 9, 11, 13, 9)]


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_resumed_passes_equal_whole_ones(name: str) -> None:
    model = tiny_model(name)
    (batch,) = batches(model, TEXTS)
    with torch.no_grad():
        before = model(**batch.inputs).logits
        run = Pass(model, batch)
        assert torch.equal(run.logits, before)
        for layer in (0, 2, 5):
            with without_layers(model, (layer,)) as view:
                whole = view(**batch.inputs).logits
            assert torch.allclose(run.logits_without(layer)[batch.mask], whole[batch.mask], atol=1e-5)
        first, last = 1, 4
        with without_layers(model, (first, last)) as view:
            whole = view(**batch.inputs).logits
        with run.without(first) as rest:
            assert torch.allclose(rest.logits_without(last - 1)[batch.mask], whole[batch.mask], atol=1e-5)
        assert torch.equal(model(**batch.inputs).logits, before)
    assert not any("forward" in vars(layer) for layer in find_stack(model).layers)


@pytest.mark.parametrize("name", ["gpt2", "mixtral"])
def test_losses_equal_the_slow_ones_beyond_llama(name: str) -> None:
    model = tiny_model(name)
    whole, without, both = pair_losses(model, [Text(ids) for ids in TEXTS], range(6))
    assert whole == pytest.approx(loss(deleted(model, ()), TEXTS), rel=1e-5)
    for layer in range(6):
        assert without[layer] == pytest.approx(loss(deleted(model, (layer,)), TEXTS), rel=1e-5)
    for pair in ((0, 1), (0, 5), (2, 4)):
        assert both[pair] == pytest.approx(loss(deleted(model, pair), TEXTS), rel=1e-5)


@pytest.mark.parametrize("name", ["gpt2", "mixtral"])
def test_similarity_equals_the_slow_one_beyond_llama(name: str, loaded: Loaded, tmp_path: Path) -> None:
    model = tiny_model(name)
    other = replace(loaded, model=model, ref=replace(loaded.ref, base_fingerprint=name))
    text = Calibration(tuple(TEXTS), ("a", "b", "c"), "numbers")
    context = Context(Evaluator(other, Store(tmp_path)), 2, text)
    seen = streams(model, TEXTS)
    turn = [
        [cosine(*pair) for text in seen for pair in zip(text[layer], text[layer + 1], strict=True)]
        for layer in range(6)
    ]
    slow = [1 - sum(cosines) / len(cosines) for cosines in turn]
    assert list(block_influence(context).scores) == pytest.approx(slow, rel=1e-5)
    blocks = [
        sum(math.acos(cosine(text[start][-1], text[start + 2][-1])) for text in seen) / math.pi / 3
        for start in range(5)
    ]
    assert list(angular(context).scores)[:5] == pytest.approx(blocks, rel=1e-5)
    # Experts that no token went to have no gradient: their part is 0, and nothing breaks.
    assert all(score is not None and score > 0 for score in taylor(context).scores)
