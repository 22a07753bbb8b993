"""A start that many texts share is read once; what follows it is as if each text were read alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import tiny_model
from small_models import small_llama
from test_sweep_engine import TOGETHER, VARIANTS, Ids, prompts_of
from test_sweep_engine import check as check_answers
from test_trees import NO_TREES, check, shapes, swept

from layerlimits.engines import _decoder, _likelihoods
from layerlimits.engines._decoder import Bounds
from layerlimits.engines._roots import Family, families
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Continuation


def counted_roots(monkeypatch: pytest.MonkeyPatch, module: Any) -> list[int]:
    """Lists the lengths of the roots that this module reads; the shortest ones pay, too."""
    monkeypatch.setattr("layerlimits.engines._roots._PASS_TOKENS", 0)
    lengths: list[int] = []
    read_root = module.read_root

    def counted(opened: Any, tokens: Sequence[int], *args: Any) -> Any:
        lengths.append(len(tokens))
        return read_root(opened, tokens, *args)

    monkeypatch.setattr(module, "read_root", counted)
    return lengths


def small_trees(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Small trees, so that rows that share a start are read after a root; lists the lengths of the roots."""
    monkeypatch.setattr(Bounds.__init__, "__defaults__", (8,))
    monkeypatch.setattr("layerlimits.engines._trees._MAX_SHARES", 0)
    return counted_roots(monkeypatch, _likelihoods)


def few_shots() -> list[Continuation]:
    """Questions after two sets of examples that share their instructions, and a text of its own."""
    head, one, other, tail = prompts_of((12, 25, 30, 9))
    contexts = [
        [*head, *examples, *question] for examples in (one, other) for question in prompts_of((4, 7, 3), seed=3)
    ]
    return [(context, answer) for context in contexts for answer in ([5], [6, 7])] + [(tail, [8])]


@pytest.mark.parametrize("name", TOGETHER)
def test_every_architecture_reads_trees_after_roots(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = small_trees(monkeypatch)
    check(tiny_model(name), few_shots())
    assert lengths == ([] if name in NO_TREES else [37, 42])


def test_trees_after_a_root_of_every_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    # The root also in several passes, with the logits of two columns at a time.
    lengths = small_trees(monkeypatch)
    monkeypatch.setattr(_likelihoods, "_MIN_SAVED_FRAC", 0.0)
    monkeypatch.setattr("layerlimits.engines._rows._SLICE_LOGITS", 2 * 96)
    monkeypatch.setattr("layerlimits.engines.sweep._FULL_TOKENS", 16)
    monkeypatch.setattr("layerlimits.engines.sweep._PASS_WORK", 1)
    for rows in shapes().values():
        check(small_llama(6), rows)
    assert lengths


def test_a_root_is_read_only_if_it_saves_tokens() -> None:
    def arranged(texts: list[list[int]], longest: int = 99) -> list[Family]:
        return families(texts, [longest] * len(texts), lambda texts: sum(map(len, texts)))

    head, other = prompts_of((60, 40))
    few = [[*head, 4], [*head, 5], [*other, 4], [*other, 5]]
    assert arranged(few) == [Family(0, [0, 1, 2, 3])]
    more = [*few, [*head, 6]]
    assert arranged(more) == [Family(60, [0, 1, 4]), Family(0, [2, 3])]
    # The tokens that predict are not in a root.
    assert arranged(more, longest=50)[0] == Family(50, [0, 1, 4])


def chats() -> list[list[int]]:
    """Prompts of two chats that share their first tokens, and one of another kind."""
    head, other, tail = prompts_of((14, 20, 6))
    return [
        *([*head, *turn] for turn in prompts_of((5, 9, 3), seed=1)),
        *([*head, *other, 7 + n] for n in (0, 1)),
        tail,
    ]


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", TOGETHER)
def test_every_architecture_answers_after_roots(name: str, beside: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = counted_roots(monkeypatch, _decoder)
    check_answers(tiny_model(name), Ids(), VARIANTS, chats(), 6, beside)
    assert sorted(lengths) == [14, 34]


@pytest.mark.parametrize("drafted", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_roots_within_a_bound_of_rows_and_with_drafts(
    rows: int, drafted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = counted_roots(monkeypatch, _decoder)
    model = small_llama(6)
    expected = swept(model).generate(VARIANTS, chats(), 7)
    drafts = [list(answer.tokens) for answer in expected[0]] if drafted else None
    alone = swept(model, max_rows=rows)
    monkeypatch.setattr("layerlimits.engines.sweep._FULL_ROWS", 1)
    monkeypatch.setattr("layerlimits.engines.sweep._STEP_WORK", 1)
    assert alone.generate(VARIANTS, chats(), 7, drafts=drafts) == expected
    assert lengths


def test_a_start_is_read_once_for_all_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_llama(6)
    read: list[int] = []
    model.get_input_embeddings().register_forward_hook(lambda _, args, __: read.append(args[0].shape[1]))
    engine = swept(model)
    assert engine.refusal is None
    (head,) = prompts_of((90,))
    prompts = [[*head, token, token + 1] for token in (4, 5, 6, 7)]
    engine.generate([()], prompts[:1], 2)
    read.clear()
    engine.generate([()], prompts, 2)
    assert read[:2] == [90, 2]
    assert sum(read) < 100


def test_where_memory_is_short_trees_are_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = small_llama(6), few_shots()
    expected = swept(model).loglikelihoods(VARIANTS, rows)
    engine, read_trees = swept(model), _likelihoods.read_trees
    assert engine.refusal is None
    sizes: list[int] = []

    def short(opened: Any, trees: Sequence[Any], variants: Sequence[Any], *args: Any) -> Any:
        sizes.append(len(variants) * sum(map(len, trees)))
        if sizes[-1] > 60:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return read_trees(opened, trees, variants, *args)

    monkeypatch.setattr(_likelihoods, "read_trees", short)
    found = engine.loglikelihoods(VARIANTS, rows)
    assert max(sizes) > 60
    for columns in zip(found, expected, strict=True):
        for (logprob, greedy), (alone, alone_greedy) in zip(*columns, strict=True):
            assert logprob == pytest.approx(alone, abs=1e-4)
            assert greedy == alone_greedy


def test_no_memory_for_the_smallest_tree_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = swept(small_llama(6), max_rows=8)
    assert engine.refusal is None

    def never(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(_likelihoods, "read_trees", never)
    monkeypatch.setattr(_likelihoods, "read", never)
    with pytest.raises(UserError, match="not enough memory for one response of this model"):
        engine.loglikelihoods(VARIANTS, few_shots())


def test_a_context_that_is_too_long_is_an_error_of_its_item_alone(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_trees(monkeypatch)
    samples = facts_choice.samples("evaluate", 12, None)
    whole = Evaluator(loaded, Store(tmp_path / "whole"))
    expected = whole.verdicts(VARIANTS[:3], facts_choice, samples)
    tokens = [whole.prompt(facts_choice, sample).tokens for sample in samples]
    monkeypatch.setattr(loaded.model.config, "max_position_embeddings", max(tokens) - 1)
    long = [place for place, count in enumerate(tokens) if count == max(tokens)]
    assert 0 < len(long) < len(samples)
    found = Evaluator(loaded, Store(tmp_path / "short")).verdicts(VARIANTS[:3], facts_choice, samples)
    for verdicts, before in zip(found, expected, strict=True):
        for place, (verdict, usual) in enumerate(zip(verdicts, before, strict=True)):
            if place in long:
                assert f"context too long: {max(tokens)} tokens" in (verdict.why or "")
            else:
                assert (verdict.outcome, verdict.value) == (usual.outcome, usual.value)
