"""The sweep engine answers for every variant as stock generation on the physically pruned model does."""

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import pytest
import torch
from architectures import ARCHITECTURES, tiny_model
from small_models import small_llama

from layerlimits.engines._costs import StepCosts
from layerlimits.engines._trial import run_trial
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.prompts import encode
from layerlimits.models.load import Loaded, load
from layerlimits.models.remove import remove
from layerlimits.tasks import choose
from layerlimits.types import Response

# Layers that carry state from token to token, and one that works its windows out from the number of columns.
ONE_AT_A_TIME = {"lfm2", "recurrent_gemma", "gpt_neo"}
TOGETHER = sorted(ARCHITECTURES.keys() - ONE_AT_A_TIME)
VARIANTS = [(), (0,), (1,), (5,), (1, 3, 5), (0, 1, 2), (2, 3, 4)]

# Fixed, so that the number of passes does not depend on the machine: 16 tokens cost as much as one.
COSTS = StepCosts((1, 16, 32), (1.0, 1.0, 2.0), (0.0, 0.0, 0.0))


class Ids:
    """A tokenizer for models that have none: tokens are their own text."""

    pad_token_id, eos_token_id, bos_token_id = 0, None, None
    added_tokens_decoder: ClassVar[dict[int, Any]] = {}

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        return " ".join(map(str, tokens))


@dataclass
class Compared:
    """Tokens that agree, and the places where rounding flipped a tie, with how far apart the two logits were."""

    tokens: int = 0
    flipped: list[float] = field(default_factory=list)


def prompts_of(lengths: Sequence[int], vocabulary: int = 96, seed: int = 0) -> list[list[int]]:
    draw = torch.Generator().manual_seed(seed)
    return [torch.randint(3, vocabulary, (length,), generator=draw).tolist() for length in lengths]


def pruned(model: Any, variant: Sequence[int]) -> Any:
    other = copy.deepcopy(model)
    if variant:
        remove(other, variant)
    return other


@torch.no_grad()
def compare(
    model: Any, ends: Collection[int], prompt: list[int], stock: Response, ours: Response, seen: Compared
) -> None:
    """Equal, or apart first where the pruned model's logit of our token is its best but for rounding."""
    seen.tokens += len(stock.tokens)
    if (stock.tokens, stock.finish) == (ours.tokens, ours.finish):
        return
    both = list(zip(stock.tokens, ours.tokens, strict=False))
    position = next((place for place, (expected, actual) in enumerate(both) if expected != actual), len(both))
    logits = model(torch.tensor([[*prompt, *stock.tokens[:position]]])).logits[0, -1]
    ours_next = [ours.tokens[position]] if position < len(ours.tokens) else sorted(ends)
    seen.flipped.append(float(logits.max() - logits[ours_next].max()))
    assert seen.flipped[-1] <= 1e-4, (stock.tokens, ours.tokens, position)


def asked(model: Any, tokenizer: Any, *, beside: bool) -> SweepEngine:
    """An engine that has the base answer beside its variants, or ahead of them, whatever the model and the machine."""
    engine = SweepEngine(model, tokenizer, costs=COSTS)
    engine._bounds = replace(engine._bounds, chunk=3, together=beside)
    return engine


def check(
    model: Any,
    tokenizer: Any,
    variants: Sequence[tuple[int, ...]],
    prompts: list[list[int]],
    most: int,
    beside: bool = False,
) -> Compared:
    columns = asked(model, tokenizer, beside=beside).generate(variants, prompts, most)
    seen = Compared()
    for variant, answers in zip(variants, columns, strict=True):
        alone = pruned(model, variant)
        engine = TransformersEngine(alone, tokenizer)
        for prompt, ours in zip(prompts, answers, strict=True):
            compare(alone, engine._ends, prompt, engine.generate_batch([prompt], most)[0], ours, seen)
    assert len(seen.flipped) <= seen.tokens / 1000
    return seen


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("name", TOGETHER)
def test_every_architecture_answers_as_the_pruned_model(name: str, beside: bool) -> None:
    model = tiny_model(name)
    assert run_trial(model).refusal is None
    prompts = prompts_of((3, 21, 37, 12))
    seen = check(model, Ids(), VARIANTS, prompts, 8, beside)
    assert seen.tokens == len(VARIANTS) * len(prompts) * 8


@pytest.mark.parametrize("name", TOGETHER)
def test_every_architecture_weighs_as_the_pruned_model(name: str) -> None:
    model = tiny_model(name)
    contexts, endings = prompts_of((3, 21, 37, 12)), prompts_of((4, 1, 7, 2), seed=1)
    rows = list(zip(contexts, endings, strict=True))
    results = SweepEngine(model, Ids()).loglikelihoods(VARIANTS, rows)
    for variant, sums in zip(VARIANTS, results, strict=True):
        engine = TransformersEngine(pruned(model, variant), Ids())
        for row, weighed in zip(rows, sums, strict=True):
            ((logprob, greedy),) = engine.loglikelihood_batch([row])
            assert weighed[0] == pytest.approx(logprob, abs=1e-4, rel=0)
            assert weighed[1] == greedy


@pytest.mark.parametrize("name", sorted(ONE_AT_A_TIME))
def test_what_cannot_share_rows_is_asked_one_variant_at_a_time(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(name)
    engine = SweepEngine(model, Ids())
    prompts = prompts_of((9, 4))
    columns = engine.generate([(), (1,), (2, 3)], prompts, 5)
    said = capsys.readouterr().err
    assert said.startswith("note: running one variant at a time, because ")
    assert engine.refusal is not None
    for variant, answers in zip([(), (1,), (2, 3)], columns, strict=True):
        alone = TransformersEngine(pruned(model, variant), Ids())
        assert [answer.tokens for answer in answers] == [answer.tokens for answer in alone.generate_batch(prompts, 5)]
    engine.generate([(1,)], prompts, 2)
    assert capsys.readouterr().err == ""


def test_the_model_is_as_it_was_afterwards() -> None:
    model = small_llama(6)
    ids = torch.arange(5, 30)[None]
    before, forwards = model(ids).logits, [layer.forward for layer in model.model.layers]
    SweepEngine(model, Ids()).generate([(1,), (1, 2)], prompts_of((5, 9)), 4)
    assert torch.equal(model(ids).logits, before)
    assert [layer.forward for layer in model.model.layers] == forwards
    assert len(model.model.layers) == model.config.num_hidden_layers == 6


@pytest.mark.parametrize("beside", [False, True])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_rows_come_and_go_within_a_bound(rows: int, beside: bool) -> None:
    model = tiny_model("llama")
    prompts = prompts_of((30, 2, 17, 5, 9, 24, 3))
    whole = SweepEngine(model, Ids()).generate(VARIANTS, prompts, 9)
    engine = asked(model, Ids(), beside=beside)
    engine._bounds = replace(engine._bounds, rows=rows)
    few = engine.generate(VARIANTS, prompts, 9)
    assert [[answer.tokens for answer in answers] for answers in few] == [
        [answer.tokens for answer in answers] for answers in whole
    ]


def test_one_row_and_what_all_variants_lack() -> None:
    model = tiny_model("llama")
    (prompt,) = prompts_of((13,))
    for variants in ([()], [(3,)], [(1, 3), (1, 4), (0, 1)]):
        check(model, Ids(), variants, [prompt], 10)


def test_drafts_change_nothing_but_the_work() -> None:
    model = tiny_model("llama")
    prompts = prompts_of((13, 5, 22))
    engine = SweepEngine(model, Ids())
    plain = engine.generate(VARIANTS, prompts, 10)
    for drafts in ([[], [], []], prompts_of((10, 4, 7), seed=5), [list(answer.tokens) for answer in plain[1]]):
        again = engine.generate(VARIANTS, prompts, 10, drafts=drafts)
        assert [[answer.tokens for answer in answers] for answers in again] == [
            [answer.tokens for answer in row] for row in plain
        ]


def reference_prompts(loaded: Loaded, each: int) -> list[list[int]]:
    tasks = choose(["arithmetic", "word_problems", "functions", "brackets", "summaries", "facts"])
    return [encode(loaded.tokenizer, sample).ids for task in tasks for sample in task.samples("select", each, None)]


@pytest.mark.parametrize("beside", [False, True])
def test_the_reference_model_stops_early_and_answers_as_stock(beside: bool) -> None:
    loaded = load("reference", device="cpu")
    variants = [(), (0,), (3,), (11,), tuple(range(1, 12, 2))]
    prompts = reference_prompts(loaded, 2)
    seen = check(loaded.model, loaded.tokenizer, variants, prompts, 40, beside)
    assert seen.tokens < len(variants) * len(prompts) * 40


@pytest.mark.slow
def test_every_layer_of_the_reference_model_on_200_prompts_and_2000_rows() -> None:
    loaded = load("reference", device="cpu")
    variants = [(layer,) for layer in range(loaded.depth)]
    prompts = reference_prompts(loaded, 34)[:200]
    assert len(variants) * len(prompts) > 2000
    seen = check(loaded.model, loaded.tokenizer, variants, prompts, 64)
    assert seen.tokens > 50_000


@pytest.mark.parametrize("refused", [1, 3])
def test_where_memory_is_short_fewer_rows_go_on(
    refused: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerlimits.engines import _decoder as module

    model = tiny_model("llama")
    prompts = prompts_of((30, 2, 17))
    whole = SweepEngine(model, Ids()).generate(VARIANTS, prompts, 6)
    engine, real, left = SweepEngine(model, Ids(), max_rows=64), module.start_followers, [refused]

    def short(*arguments: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return real(*arguments)

    engine.generate([()], prompts, 1)
    monkeypatch.setattr(module, "start_followers", short)
    again = engine.generate(VARIANTS, prompts, 6)
    assert [[answer.tokens for answer in row] for row in again] == [[answer.tokens for answer in row] for row in whole]
    assert engine._bounds.rows == 64 // 2**refused
    assert capsys.readouterr().err.count("out of memory") == refused


def test_no_memory_for_one_row_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.engines import _decoder as module
    from layerlimits.errors import UserError

    engine = SweepEngine(tiny_model("llama"), Ids(), max_rows=4)
    engine.generate([()], [[5, 6]], 1)

    def never(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "start_followers", never)
    with pytest.raises(UserError, match="not enough memory for one response"):
        engine.generate(VARIANTS, [[5, 6, 7]], 4)


def test_other_errors_are_not_taken_for_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.engines import _decoder as module

    engine = SweepEngine(tiny_model("llama"), Ids())
    engine.generate([()], [[5, 6]], 1)

    def wrong(*arguments: Any) -> Any:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(module, "start_followers", wrong)
    with pytest.raises(RuntimeError, match="size mismatch"):
        engine.generate(VARIANTS, [[5, 6, 7]], 4)


def test_a_long_text_that_is_finished_by_its_draft_leaves_short_ones_going_on() -> None:
    model = tiny_model("llama")
    short, long = prompts_of((4, 60))
    engine = SweepEngine(model, Ids())
    whole = engine.generate([(2,)], [short, long], 6)[0]
    # The drafts: the long one's own answer, and nothing for the short one.
    again = engine.generate([(2,)], [short, long], 6, drafts=[[], list(whole[1].tokens)])[0]
    assert [answer.tokens for answer in again] == [answer.tokens for answer in whole]


@pytest.mark.parametrize("name", ["llama", "lfm2"])
def test_every_prompt_has_its_own_limit(name: str) -> None:
    model = tiny_model(name)
    prompts, limits, variants = prompts_of((9, 4, 17)), [5, 1, 3], [(), (1,), (2, 3)]
    columns = SweepEngine(model, Ids()).generate(variants, prompts, limits)
    for variant, answers in zip(variants, columns, strict=True):
        alone = TransformersEngine(pruned(model, variant), Ids())
        for prompt, limit, answer in zip(prompts, limits, answers, strict=True):
            assert answer.tokens == alone.generate_batch([prompt], limit)[0].tokens
