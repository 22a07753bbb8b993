"""Texts that are read as a tree have the log-likelihoods that they have alone."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from small_models import small_llama
from test_sweep_engine import TOGETHER, VARIANTS, Ids, prompts_of, pruned

from layerlimits.engines import _likelihoods
from layerlimits.engines._trees import inputs, separate, trees_of
from layerlimits.engines._trial import run_trial
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.types import Continuation

# Attention that works its biases out from columns cannot read trees; these models read every text alone.
NO_TREES = {"bloom", "mpt"} & ARCHITECTURES.keys()


def shapes() -> dict[str, list[Continuation]]:
    """Rows of (context, continuation) whose texts share more or less."""
    head, other, tail = prompts_of((30, 25, 12))
    return {
        "no sharing": list(zip(prompts_of((9, 14, 20)), prompts_of((3, 1, 5), seed=1), strict=True)),
        "one row": [(head, [5, 6])],
        "one token each": [(head, [token]) for token in (5, 6, 7, 8)],
        "choices of one context": [(head, [5, 6, 7]), (head, [5, 6, 8, 9]), (head, [10])],
        "contexts that share their examples": [(head + tail[:4], [5]), (head + tail[4:9], [5, 6]), ([*head, 3], [7])],
        "equal rows": [(head, [5, 6]), (head, [5, 6]), (other, [5, 6])],
        "a row that is the start of another": [(head, [5, 6]), (head, [5, 6, 7, 8]), ([*head, 5], [6])],
        "a continuation that starts inside the shared part": [(head[:20], head[20:]), (head[:10], [*head[10:25], 4])],
        "two tokenizations at the seam": [([*head, 4, 5], [6]), ([*head, 4], [9, 6]), (head, [4, 5, 6])],
        "two trees and a text": [(head, [5]), (head, [6, 7]), (other, [5]), (other, [8, 9]), (tail, [3])],
    }


def no_tokenizer() -> Any:
    """Stands for a tokenizer; engines only decode with it."""
    return Ids()


def swept(model: Any, **options: Any) -> SweepEngine:
    """The engine on a small model."""
    return SweepEngine(model, no_tokenizer(), **options)


def check(model: Any, rows: Sequence[Continuation]) -> None:
    engine, tokenizer = swept(model), no_tokenizer()
    for variant, sums in zip(VARIANTS, engine.loglikelihoods(VARIANTS, rows), strict=True):
        alone = TransformersEngine(pruned(model, variant), tokenizer)
        for row, (logprob, greedy) in zip(rows, sums, strict=True):
            ((expected, expected_greedy),) = alone.loglikelihood_batch([row])
            assert logprob == pytest.approx(expected, abs=1e-4, rel=0)
            assert greedy == expected_greedy


@pytest.mark.parametrize("shape", shapes())
def test_trees_of_every_shape(shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Also where a tree saves next to nothing, and with the logits of two columns at a time.
    monkeypatch.setattr(_likelihoods, "_MIN_SAVED_FRAC", 0.0)
    monkeypatch.setattr("layerlimits.engines._rows._SLICE_LOGITS", 2 * 96)
    check(small_llama(6), shapes()[shape])


@pytest.mark.parametrize("name", TOGETHER)
def test_every_architecture_reads_trees(name: str) -> None:
    model = tiny_model(name)
    assert run_trial(model).trees == (name not in NO_TREES)
    shared = shapes()["contexts that share their examples"]
    check(model, [*shared, *shapes()["two tokenizations at the seam"], *shapes()["no sharing"]])


def test_trees_contain_every_text_and_each_shared_stretch_once() -> None:
    draw = random.Random(0)
    heads = [[draw.randrange(9) for _ in range(40)] for _ in range(3)]
    texts = [
        [*heads[draw.randrange(3)][: draw.randrange(1, 40)], *(draw.randrange(9) for _ in range(8))] for _ in range(60)
    ]
    trees = trees_of(texts, 500)
    assert sorted(number for tree in trees for number in tree.branches) == list(range(60))
    for tree in trees:
        for number, branch in tree.branches.items():
            assert [tree.tokens[column] for column in branch.columns] == texts[number]
            assert [tree.positions[column] for column in branch.columns] == list(range(len(texts[number])))
        prefixes = {tuple(texts[number][:end]) for number in tree.branches for end in range(1, len(texts[number]) + 1)}
        assert len(tree) == len(prefixes)


def test_a_column_attends_to_what_precedes_it_in_its_text() -> None:
    texts = [[1, 2, 3, 4], [1, 2, 3, 5, 6], [1, 2, 7]]
    (tree,) = trees_of(texts, 100)
    ids, positions, attended = inputs([tree, *separate([[8]])], torch.device("cpu"))
    assert ids.shape == positions.shape == (2, 7)
    assert tree.tokens == [1, 2, 3, 4, 5, 6, 7]
    assert tree.positions == [0, 1, 2, 3, 3, 4, 2]
    seen = [row.nonzero()[:, 0].tolist() for row in attended[0]]
    assert seen == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 4], [0, 1, 2, 4, 5], [0, 1, 6]]
    # Padding attends to itself only.
    assert torch.equal(attended[1], torch.eye(7, dtype=torch.bool))


def test_a_tree_stays_small_unless_most_of_it_is_shared() -> None:
    head = list(range(3, 43))
    little = [[*head[:20], *[50 + number] * 30] for number in range(10)]
    assert max(map(len, trees_of(little, 100))) <= 100
    much = [[*head, 50 + number] for number in range(60)]
    assert [len(tree) for tree in trees_of(much, 13)] == [100]
    # At most eight times as large.
    assert [len(tree) for tree in trees_of(much, 10)] == [80, 60]


def test_shared_stretches_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_llama(6)
    read: list[int] = []
    embed = model.get_input_embeddings()
    embed.register_forward_hook(lambda _, args, __: read.append(args[0].shape[1]))
    engine = swept(model)
    assert engine.refusal is None
    read.clear()
    engine.loglikelihoods([(1,)], [(prompts_of((50,))[0], [token, token]) for token in (4, 5, 6, 7)])
    assert read == [54]
