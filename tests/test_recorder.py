"""What the sweep engine reports while it computes, and how it continues what an interrupted call left."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from architectures import tiny_model
from test_sweep_engine import VARIANTS, Ids, asked, prompts_of

from layerlimits.engines import Recorder, Unfinished
from layerlimits.engines.sweep import SweepEngine
from layerlimits.types import Response

Cell = tuple[int, int]
NEW_TOKENS = 12


class Memory(Recorder):
    """Remembers every report, and has what an interrupted call left."""

    def __init__(self, stored: Mapping[Cell, Response] | None = None, begun: Mapping[Cell, Any] | None = None) -> None:
        self._stored, self._begun = stored or {}, begun or {}
        self.answers: dict[Cell, Any] = {}
        # The finished and the unfinished answers after each pass.
        self.passes: list[tuple[dict[Cell, Any], list[Unfinished]]] = []

    def stored(self, variant: int, place: int) -> Response | None:
        return self._stored.get((variant, place))

    def begun(self, variant: int, place: int) -> Sequence[int]:
        return self._begun.get((variant, place), ())

    def finished(self, variant: int, place: int, answer: Any) -> None:
        assert (variant, place) not in self.answers
        self.answers[variant, place] = answer

    def working(self, unfinished: Callable[[], Iterable[Unfinished]]) -> None:
        self.passes.append((dict(self.answers), list(unfinished())))


@pytest.fixture(params=[(False, 2048, 8192), (True, 8, 40)], ids=["ahead", "beside, few rows"])
def engine(request: pytest.FixtureRequest) -> SweepEngine:
    beside, rows, tokens = request.param
    made = asked(tiny_model("llama"), Ids(), beside=beside)
    assert made.refusal is None
    made._bounds = replace(made._bounds, rows=rows, tokens=tokens)
    return made


PROMPTS = prompts_of((20, 2, 9))


def cells(columns: Sequence[Sequence[Response]]) -> dict[Cell, Response]:
    return {(variant, place): answer for variant, row in enumerate(columns) for place, answer in enumerate(row)}


def test_every_answer_is_reported_when_it_ends(engine: SweepEngine) -> None:
    memory = Memory()
    whole = cells(engine.generate(VARIANTS, PROMPTS, [NEW_TOKENS, 5, 9], recorder=memory))
    assert memory.answers == whole
    # Short answers before the others, which are listed as far as they are.
    early = next(answers for answers, _ in memory.passes if answers)
    assert 0 < len(early) < len(whole)
    for answers, unfinished in memory.passes:
        for state in unfinished:
            cell = (state.variant, state.place)
            assert cell not in answers
            assert tuple(state.written) == whole[cell].tokens[: state.tokens]
            assert 0 <= state.read_frac <= 1
    lengths = [sum(state.tokens for state in unfinished) for _, unfinished in memory.passes]
    assert max(lengths) > 0


def test_long_prompts_are_read_in_several_passes(engine: SweepEngine) -> None:
    engine._bounds = replace(engine._bounds, tokens=20)
    memory = Memory()
    engine.generate(VARIANTS, PROMPTS[:1], 2, recorder=memory)
    shares = {state.read_frac for _, unfinished in memory.passes for state in unfinished}
    assert len([share for share in shares if 0 < share < 1]) >= 2


@pytest.mark.parametrize("place", [0.4, 0.8])
def test_an_interrupted_call_is_continued(engine: SweepEngine, place: float) -> None:
    memory = Memory()
    whole = cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=memory))
    stored, unfinished = memory.passes[int(place * len(memory.passes))]
    begun = {(state.variant, state.place): state.written for state in unfinished if state.written}
    assert begun
    again = Memory(stored, begun)
    resumed = cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=again))
    assert resumed == whole
    assert again.answers.keys() == whole.keys() - stored.keys()
    # Reading what had been written takes fewer passes than writing it again.
    without = Memory(stored)
    engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=without)
    assert len(again.passes) < len(without.passes)


def test_wrong_tokens_change_no_answer(engine: SweepEngine) -> None:
    memory = Memory()
    whole = cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=memory))
    # Wrong from the first token, from the middle, after half of the answer; too long; and of another answer.
    begun = {}
    for number, (cell, answer) in enumerate(whole.items()):
        tokens = list(answer.tokens)
        half = len(tokens) // 2
        spoiled = [*tokens[:half], (tokens[half] + 1) % 96, *tokens[half + 1 :]]
        begun[cell] = ([9] * 8, spoiled, tokens[:half] + [7] * 6, tokens + [5] * 40, tokens[::-1])[number % 5]
    assert cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=Memory(begun=begun))) == whole


def test_what_is_stored_is_returned_and_not_computed(engine: SweepEngine) -> None:
    whole = cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS))
    other = Response("7", (7,), "stop")
    stored = {cell: other for cell in whole if cell[0] != 2 or cell[1] > 1}
    memory = Memory(stored)
    answers = cells(engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=memory))
    assert answers == whole | stored
    assert memory.answers == {(2, 0): whole[2, 0], (2, 1): whole[2, 1]}
    none = Memory(dict.fromkeys(whole, other))
    engine.generate(VARIANTS, PROMPTS, NEW_TOKENS, recorder=none)
    assert none.passes == []


def test_where_memory_runs_out_finished_answers_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = asked(tiny_model("llama"), Ids(), beside=True)
    whole = cells(engine.generate(VARIANTS, PROMPTS, [NEW_TOKENS, 3, 3]))

    class Full(Memory):
        """Memory runs out once, after the first finished answers."""

        def stored(self, variant: int, place: int) -> Response | None:
            return self.answers.get((variant, place))

        def working(self, unfinished: Callable[[], Iterable[Unfinished]]) -> None:
            super().working(unfinished)
            if len(self.answers) > 3 and not self._stored:
                self._stored = dict(self.answers)
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    memory = Full()
    assert cells(engine.generate(VARIANTS, PROMPTS, [NEW_TOKENS, 3, 3], recorder=memory)) == whole
    assert memory.answers == whole
    assert memory._stored
