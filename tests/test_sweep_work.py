"""What the sweep engine saves: counted, since its answers would be the same without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from architectures import tiny_model
from test_sweep_engine import Ids, asked, prompts_of

from layerlimits.engines.sweep import SweepEngine


def computed(model: Any) -> list[int]:
    """Fills with the tokens of all rows of each call of a layer."""
    counts: list[int] = []
    for layer in model.model.layers:
        layer.mlp.register_forward_hook(lambda _, __, output: counts.append(output.shape[0] * output.shape[1]))
    return counts


def test_a_prompt_passes_the_layers_before_the_forks_once() -> None:
    model = tiny_model("llama")
    engine, (prompt,) = asked(model, Ids(), beside=True), prompts_of((20,))
    assert engine.refusal is None
    counts = computed(model)
    depth = len(model.model.layers)
    engine.generate([(layer,) for layer in range(depth)], [prompt], 1)
    # The base itself, and each variant's layers after the one it lacks, each in one call for all of them.
    assert sum(counts) == 20 * (depth + sum(depth - 1 - layer for layer in range(depth)))
    assert len(counts) == depth


def test_all_variants_share_a_pass_and_a_draft_saves_passes() -> None:
    model = tiny_model("llama")
    engine, prompts = asked(model, Ids(), beside=True), prompts_of((20, 9))
    assert engine.refusal is None
    counts = computed(model)
    max_new_tokens = 12
    own = engine.generate([(2,)], prompts, max_new_tokens)[0]
    alone = len(counts)
    counts.clear()
    engine.generate([(1,), (2,), (3, 4)], prompts, max_new_tokens)
    assert len(counts) < 2 * alone
    counts.clear()
    engine.accepted = engine.written = 0
    engine.generate([(2,)], prompts, max_new_tokens, drafts=[list(answer.tokens) for answer in own])
    assert len(counts) < alone / 2
    assert engine.accepted >= len(prompts) * (max_new_tokens - 1)


def test_log_likelihoods_share_the_layers_before_the_forks() -> None:
    model = tiny_model("llama")
    engine, (context, continuation) = asked(model, Ids(), beside=True), prompts_of((15, 6))
    assert engine.refusal is None
    counts = computed(model)
    depth = len(model.model.layers)
    engine.loglikelihoods([(layer,) for layer in range(depth)], [(context, continuation)])
    # Nobody asked for the base: it goes no further than the last fork.
    assert sum(counts) == 20 * (depth - 1 + sum(depth - 1 - layer for layer in range(depth)))


def test_evaluate_and_sweep_ask_by_the_engine(
    tiny: Path, says: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    real = SweepEngine.generate

    def watched(self: SweepEngine, variants: Any, *arguments: Any, **more: Any) -> Any:
        calls.append(len(variants))
        return real(self, variants, *arguments, **more)

    monkeypatch.setattr(SweepEngine, "generate", watched)
    says("evaluate", tiny, "--tasks", "facts", "--limit", 3)
    assert calls == [1]
    says("sweep", tiny, "--tasks", "facts", "--limit", 3)
    assert max(calls[1:]) > 1
    calls.clear()
    says("sweep", tiny, "--tasks", "facts", "--limit", 3, "--engine", "transformers")
    assert not calls
