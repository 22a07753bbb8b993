"""Logits that are not finite: every engine refuses them, names the layers removed, and spares masked tokens."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from layerlimits.engines.hflm import HflmEngine
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.errors import UserError
from layerlimits.models.finite import NOT_FINITE, NonFiniteLogits, gathered, likeliest, likeliest_or_marked
from layerlimits.models.load import Loaded, load
from layerlimits.types import Decoding

NAN, INF = float("nan"), float("inf")
PROMPTS = [[1, 280, 281, 282], [1, 290]]
ROWS = [([1, 280], [281, 282]), ([1, 290, 291], [292])]
ENGINES = [TransformersEngine, SweepEngine, HflmEngine]


def _spoiled(loaded: Loaded, value: float, layer: int = 5) -> Loaded:
    with torch.no_grad():
        loaded.model.model.layers[layer].mlp.down_proj.weight[3, 4] = value
    return loaded


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_base_model_with_one_bad_weight_is_refused_by_every_engine(
    engine: type, value: float, loaded: Loaded
) -> None:
    asked = engine(_spoiled(loaded, value).model, loaded.tokenizer)
    words = "the logits of the model are not finite in float32"
    with pytest.raises(UserError, match=words):
        asked.generate([()], PROMPTS, 6)
    with pytest.raises(UserError, match=words):
        asked.generate([()], PROMPTS, 6, Decoding(temperature=0.7), 1)
    with pytest.raises(UserError, match=words):
        asked.loglikelihoods([()], ROWS)[0]
    assert len(asked.generate([(5,)], PROMPTS, 6)[0]) == 2
    assert all(torch.tensor([sums for sums, _ in asked.loglikelihoods([(5,)], ROWS)[0]]).isfinite())
    with pytest.raises(UserError, match="without layers 0, 2 are not finite"):
        asked.generate([(0, 2)], PROMPTS, 6)


@pytest.mark.parametrize("engine", [SweepEngine, HflmEngine])
def test_variants_asked_together_are_refused_by_name(engine: type, loaded: Loaded) -> None:
    asked = engine(_spoiled(loaded, NAN, 3).model, loaded.tokenizer)
    fine: list[tuple[int, ...]] = [(3,), (1, 3), (3, 4)]
    assert asked.refusal is None
    assert len(asked.generate(fine, PROMPTS, 6)) == 3
    assert torch.tensor(asked.loglikelihoods(fine, ROWS)).isfinite().all()
    for variants, words in (([(3,), (4,)], "without layer 4 are"), ([(0, 4), (4, 5)], "without layers 0, 4 are")):
        with pytest.raises(UserError, match="are not finite"):
            asked.generate(variants, PROMPTS, 6)
        with pytest.raises(UserError, match=words):
            asked.loglikelihoods(variants, ROWS)


def _needs_layer_1(loaded: Loaded) -> None:
    """Let layer 4 make NaN of what layer 1 has not marked."""
    marks = torch.nn.functional.one_hot(torch.tensor(0), 32) * 1000.0
    layers = loaded.model.model.layers
    layers[1].mlp.register_forward_hook(lambda _, __, output: output + marks)
    layers[4].mlp.register_forward_pre_hook(lambda _, given: (given[0].where(given[0][..., :1] > 1, NAN),))


def test_the_one_variant_that_fails_is_named(loaded: Loaded) -> None:
    _needs_layer_1(loaded)
    asked = SweepEngine(loaded.model, loaded.tokenizer)
    assert asked.refusal is None
    fine: list[tuple[int, ...]] = [(), (2,), (5,), (1, 4)]
    assert len(asked.generate(fine, PROMPTS, 6)) == 4
    for variants, words in ((*fine, (1,)), "without layer 1 are"), (((0, 2), (0, 1, 3)), "without layers 0, 1, 3 are"):
        with pytest.raises(UserError, match=words):
            asked.generate(variants, PROMPTS, 6)
        with pytest.raises(UserError, match=words):
            asked.loglikelihoods(variants, ROWS)


def test_a_model_that_fails_after_the_first_token_is_refused(loaded: Loaded) -> None:
    # Only a token that is written, not one of a prompt, has a bad embedding.
    first = TransformersEngine(loaded.model, loaded.tokenizer).generate_batch(PROMPTS[:1], 1)[0].tokens[0]
    assert first not in PROMPTS[0]
    with torch.no_grad():
        loaded.model.model.embed_tokens.weight[first, 0] = NAN
    for engine in ENGINES:
        asked = engine(loaded.model, loaded.tokenizer)
        with pytest.raises(UserError, match="logits of the model are not finite"):
            asked.generate([()], PROMPTS[:1], 6)
    with pytest.raises(UserError, match="are not finite"):
        SweepEngine(loaded.model, loaded.tokenizer).generate([(), (2,)], PROMPTS[:1], 6)


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_the_number_type_is_named_and_a_wider_one_advised(kind: str, tiny: Path) -> None:
    loaded = _spoiled(load(str(tiny), dtype=kind, device="cpu"), NAN)
    with pytest.raises(UserError, match=f"not finite in {kind}") as refused:
        TransformersEngine(loaded.model, loaded.tokenizer).generate([()], PROMPTS, 3)
    assert refused.value.fix.startswith("use dtype float32 (--dtype float32)")


@pytest.mark.parametrize("engine", ENGINES)
def test_masked_tokens_are_no_fault(engine: type, loaded: Loaded) -> None:
    masked = [7, 292]
    before = engine(loaded.model, loaded.tokenizer)
    usual = before.loglikelihoods([()], ROWS)[0][0][0]

    def mask(_: object, __: object, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(-1, torch.tensor(masked), -INF)

    loaded.model.lm_head.register_forward_hook(mask)
    asked = engine(loaded.model, loaded.tokenizer)
    for decoding in (Decoding(), Decoding(temperature=1.0)):
        (answers,) = asked.generate([()], PROMPTS, 8, decoding)
        assert not {*masked} & {token for answer in answers for token in answer.tokens}
    results = asked.loglikelihoods([()], ROWS)[0]
    assert results[0][0] == pytest.approx(usual, abs=0.1)
    assert results[1] == (-INF, False)
    if engine is not TransformersEngine:
        assert asked.refusal is None
        assert asked.loglikelihoods([(), (2,)], ROWS)[1][1] == (-INF, False)
        assert len(asked.generate([(), (2,)], PROMPTS, 8)) == 2


def test_rows_are_judged_by_their_largest_logit() -> None:
    fine = torch.tensor([[0.0, -INF, 2.0], [-INF, -INF, -1.0]])
    assert likeliest(fine).tolist() == [2, 2]
    logprobs, greedy = gathered(fine, torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2]))
    assert logprobs.tolist() == pytest.approx([-INF, 0.0, -math.log1p(math.exp(-2))])
    assert greedy.tolist() == [False, True, True]
    for row in ([0.0, NAN, 2.0], [0.0, INF, 1.0], [-INF, -INF, -INF], [NAN, INF, -INF]):
        logits = torch.cat([fine, torch.tensor([row])])
        for target in range(3):
            with pytest.raises(NonFiniteLogits, match="row 2"):
                gathered(logits, torch.arange(3), torch.tensor([1, 2, target]))
        with pytest.raises(NonFiniteLogits, match="row 2"):
            likeliest(logits)
        assert likeliest_or_marked(logits).tolist() == [2, 2, NOT_FINITE]


@pytest.mark.parametrize("command", ["evaluate", "sweep"])
@pytest.mark.parametrize("task", ["facts_choice", "arithmetic"])
def test_a_checkpoint_with_one_nan_is_refused_by_the_command_line(
    command: str, task: str, tiny: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "copy"))
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.5.mlp.down_proj.weight"][0, 0] = NAN
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    said = refused(command, folder, "--tasks", task, "--limit", "4")
    assert "the logits of the model are not finite in float32" in said
    assert "look for NaN or inf in the checkpoint's weights" in said
