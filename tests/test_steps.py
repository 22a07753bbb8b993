"""A decoding step: what it launches, where rows move to, and how many guessed tokens it verifies."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from architectures import tiny_model
from small_models import small_llama
from test_sweep_engine import VARIANTS, Ids, prompts_of
from torch.utils._python_dispatch import TorchDispatchMode

from layerlimits.engines._costs import StepCosts, measure
from layerlimits.engines._guesses import GuessLength
from layerlimits.engines._pool import Pool
from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine

LAYERS = 6
# Verifying costs what it computes, so that no guess pays; and costs nothing up to 64 tokens.
LINEAR = StepCosts((1, 1024), (1.0, 1024.0), (1.0, 1024.0))
FREE = StepCosts((1, 64, 65), (1.0, 1.0, 65.0), (0.0, 0.0, 0.0))
FIXED = {"linear": LINEAR, "free": FREE}


class Launches(TorchDispatchMode):
    """Counts operations that compute something: on a GPU, each is launched by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.waits = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        is_view = any(value.alias_info and not value.alias_info.is_write for value in function._schema.returns)
        self.count += not is_view
        self.waits += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*args, **(kwargs or {}))


def per_step(generate: Callable[[int], Any]) -> tuple[float, float]:
    """Operations, and waits for their results, per token of an answer, without reading the prompt."""
    seen = []
    for tokens in (10, 30):
        with Launches() as launches:
            generate(tokens)
        seen.append((launches.count, launches.waits))
    return (seen[1][0] - seen[0][0]) / 20, (seen[1][1] - seen[0][1]) / 20


def endless() -> Any:
    model = small_llama(LAYERS, eos_token_id=None)
    model.generation_config.eos_token_id = None
    return model


@pytest.mark.parametrize(("variants", "per_layer"), [([()], 0), ([(2,), (5,)], 6)])
def test_a_step_launches_little_more_than_stock_generation(variants: list[tuple[int, ...]], per_layer: int) -> None:
    model, prompts = endless(), prompts_of([12] * (8 // len(variants)))
    stock, ours = TransformersEngine(model, Ids()), SweepEngine(model, Ids(), costs=LINEAR)
    drafts: list[list[int]] = [[] for _ in prompts]
    ours.generate(variants, prompts, 4)
    expected, _ = per_step(lambda tokens: stock.generate_batch(prompts_of([12] * 8), tokens))
    count, waits = per_step(lambda tokens: ours.generate(variants, prompts, tokens, drafts=drafts))
    assert ours.written >= 8 * (10 + 30)
    # Measured: 18 and 25 more. All layers share masks and rotations; a layer that lacks rows selects its own.
    assert count <= expected + 24 + per_layer * LAYERS
    # The new tokens are fetched as one tensor, which dispatches no operation.
    assert waits == 0


@pytest.mark.parametrize("costs", FIXED.values(), ids=FIXED)
def test_guesses_change_the_steps_but_not_the_answers(costs: StepCosts) -> None:
    model, prompts = endless(), prompts_of((5, 17, 9))
    # The next token depends on little but the last one: the answers soon repeat themselves.
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.mul_(0.01)
        layer.mlp.down_proj.weight.data.mul_(0.01)
    plain = TransformersEngine(model, Ids())
    engine = SweepEngine(model, Ids(), costs=costs)
    engine.generate([()], prompts, 2)
    widths: list[int] = []
    model.model.embed_tokens.register_forward_hook(lambda _, args, __: widths.append(args[0].shape[1]))
    (answers,) = engine.generate([()], prompts, 200, drafts=[[], [], []])
    steps = widths[:]
    assert [answer.tokens for answer in answers] == [plain.generate_batch([ids], 200)[0].tokens for ids in prompts]
    if costs is FREE:
        assert len(steps) < 160
        assert max(steps[1:]) > 9
    else:
        assert len(steps) >= 200


def chosen(costs: StepCosts, rows: int, available: list[int], verified: Sequence[tuple[int, int]] = ()) -> int:
    length = GuessLength(lambda tokens, logits: costs.seconds(4, tokens, logits), 8192)
    for _ in range(20):
        length.record(verified)
    return length.choose(rows, available)


def test_guesses_are_as_long_as_their_acceptance_and_the_costs_allow() -> None:
    assert chosen(LINEAR, 4, [8, 8, 8, 8]) == 0
    assert chosen(FREE, 1, [32]) == 32
    assert chosen(FREE, 1, []) == 0
    # Eight rows of eight tokens are free.
    assert chosen(FREE, 8, [32] * 8, [(32, 32)] * 8) == 7
    assert chosen(FREE, 100, [32] * 8, [(32, 32)] * 8) == 0
    # One row in sixteen has a guess: still free with four tokens a row.
    assert chosen(FREE, 16, [32]) == 3
    half = StepCosts((1, 1024), (100.0, 612.0), (0.0, 0.0))
    good, bad = [chosen(half, 8, [32] * 8, [(32, right)] * 8) for right in (32, 0)]
    assert bad < good == 32
    # Guesses that fail at their third token are cut there.
    assert chosen(half, 8, [32] * 8, [(32, 2)] * 8) == 2


def test_a_step_stays_within_memory_and_bad_guesses_are_tried_again() -> None:
    length = GuessLength(lambda tokens, logits: np.ones(len(tokens)), 40)
    assert length.choose(8, [32] * 8) == 4
    for _ in range(5):
        length.record([(8, 0)] * 10)
    assert length.rates()[0] < 0.1
    for _ in range(100):
        length.record([])
    assert length.rates()[0] > 0.5


def test_guesses_are_not_looked_up_where_they_cannot_pay() -> None:
    length = GuessLength(lambda tokens, logits: FREE.seconds(4, tokens, logits), 8192)
    assert length.can_pay(20)
    assert not length.can_pay(300)


def test_measured_costs_grow_and_take_little_time() -> None:
    costs = measure(tiny_model("llama"))
    assert len(costs.tokens) == len(costs.layer_s) == len(costs.head_s) >= 2
    sizes = np.array([1, 3, 100, 1000, 10_000])
    seconds = costs.seconds(LAYERS, sizes, sizes)
    assert (seconds > 0).all()
    assert (np.diff(seconds) >= 0).all()
    assert seconds[-1] > 4 * seconds[-2]


def test_noise_is_smoothed_and_large_steps_are_extrapolated() -> None:
    costs = StepCosts((1, 2, 4), (9.0, 2.0, 4.0), (0.0, 0.0, 0.0))
    assert costs.seconds(2, np.array([1, 2, 3, 4, 8]), np.zeros(5)).tolist() == [4, 4, 6, 8, 16]


def filled_pool(rows: int, draw: torch.Generator) -> tuple[Pool, list[dict[int, torch.Tensor]]]:
    """A pool of rows that follow none, and per layer the keys that each of its rows has."""
    has_layer = torch.rand(LAYERS, rows, generator=draw) < 0.7
    has_layer[0] = True
    pool = Pool(has_layer, torch.arange(rows), 5, torch.device("cpu"), capacity=16)
    expected: list[dict[int, torch.Tensor]] = []
    pool.filled = 4
    for layer in range(LAYERS):
        keys = torch.rand(pool.count(layer), 2, 4, 3, generator=draw)
        pool.write(layer, torch.arange(4)[None], 4, keys.clone(), keys.clone())
        expected.append(dict(zip(has_layer[layer].nonzero()[:, 0].tolist(), keys, strict=True)))
    return pool, expected


def assert_stored(pool: Pool, expected: list[dict[int, torch.Tensor]]) -> None:
    for layer, keys_of_row in enumerate(expected):
        rows = torch.arange(pool.size)[pool.rows(layer)].tolist()
        assert sorted(rows) == sorted(keys_of_row)
        for storage in (pool.keys[layer], pool.values[layer]):
            for place, row in enumerate(rows):
                assert storage is not None
                assert torch.equal(storage[place, :, :4], keys_of_row[row])
                assert storage[place, :, 4:].isfinite().all()


@pytest.mark.parametrize("seed", range(3))
def test_rows_keep_their_keys_when_others_come_and_go(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    (pool, expected), (other, others) = filled_pool(9, draw), filled_pool(5, draw)
    for chosen in ([8, 0, 3, 4, 7], [0, 1, 2, 3, 4], [4, 1]):
        stored = [storage.data_ptr() for storage in pool.keys if storage is not None]
        pool.keep(torch.tensor(chosen))
        expected = [{chosen.index(row): keys for row, keys in of.items() if row in chosen} for of in expected]
        assert_stored(pool, expected)
        # Memory stays where it is.
        assert stored == [storage.data_ptr() for storage in pool.keys if storage is not None]
        size = pool.size
        pool.add(other, torch.tensor([4, 2, 0]))
        new = [{size + place: of[row] for place, row in enumerate((4, 2, 0)) if row in of} for of in others]
        expected = [{**old, **more} for old, more in zip(expected, new, strict=True)]
        assert_stored(pool, expected)
    pool.keep(torch.empty(0, dtype=torch.long))
    assert_stored(pool, [{} for _ in range(LAYERS)])


def test_layers_that_compute_the_same_rows_share_their_index() -> None:
    has_layer = torch.ones(LAYERS, 6, dtype=torch.bool)
    has_layer[2:4, 1] = False
    pool = Pool(has_layer, torch.arange(6), 5, torch.device("cpu"))
    assert pool.rows(2) is pool.rows(3)
    assert pool.rows(0) == slice(6)


def test_the_variants_of_the_engine_are_those_of_other_tests() -> None:
    model, prompts = tiny_model("gemma3_text"), prompts_of((3, 21))
    answers = [SweepEngine(model, Ids(), costs=costs).generate(VARIANTS, prompts, 12) for costs in FIXED.values()]
    assert [[row.tokens for row in rows] for rows in answers[0]] == [
        [row.tokens for row in rows] for rows in answers[1]
    ]
