"""What is computed reaches the store as it is computed, and an interrupted call is continued where it was."""

import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from architectures import tiny_model
from test_sweep_engine import VARIANTS, asked, prompts_of

from layerlimits.engines import Recorder, Unfinished
from layerlimits.engines.sweep import SweepEngine
from layerlimits.evaluation import recording
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.exchange import write_export
from layerlimits.evaluation.lengths import AnswerLengths, part_done
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Key, Store
from layerlimits.models.load import Loaded
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Decoding, Response, Task, Verdict

Cell = tuple[int, int]
NEW_TOKENS = 12


class Ids:
    """A tokenizer for models that have none: tokens are their own text."""

    pad_token_id, eos_token_id, bos_token_id = 0, None, None

    def decode(self, tokens: Sequence[int], **_: Any) -> str:
        return " ".join(map(str, tokens))


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


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is committed, saved and reported after every pass."""
    for name in ("_COMMIT_S", "_SAVE_S", "_REPORT_S"):
        monkeypatch.setattr(recording, name, 0.0)


def interrupted(evaluator: Evaluator, task: Task, samples: Any, after: float) -> float:
    """Ask until so many responses are done, then interrupt; returns how many were reported."""
    done = 0.0

    def stop(part: float) -> None:
        nonlocal done
        done += part
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator.ask(VARIANTS, [(task, samples)], stop)
    return done


def assert_same(store: Store, other: Store) -> None:
    """The same responses are stored, log-probabilities but for rounding, which depends on the batch."""
    columns = [list(each.export()) for each in (store, other)]
    logprobs = [[value for row in rows for value in json.loads(row.pop("logprobs"))] for rows in columns]
    assert columns[0] == columns[1]
    assert logprobs[0] == pytest.approx(logprobs[1], abs=1e-4, rel=0)


def begun_in(store: Store) -> int:
    return int(store._db.execute("SELECT COUNT(*) FROM begun").fetchone()[0])


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("task", [facts, facts_choice], ids=lambda task: task.name)
def test_an_interrupted_run_computes_only_what_is_missing(loaded: Loaded, tmp_path: Path, task: Task) -> None:
    samples = task.samples("evaluate", 12, None)
    total = len(VARIANTS) * 12
    whole = Evaluator(loaded, Store(tmp_path / "whole"))
    whole.ask(VARIANTS, [(task, samples)])
    run = Evaluator(loaded, Store(tmp_path / "run"), AskOptions(batch_size=8))
    interrupted(run, task, samples, 0.3 * total)
    kept = len(list(run.store.export()))
    assert 0 <= kept < total
    assert kept or begun_in(run.store)
    resumed = Evaluator(loaded, run.store, AskOptions(batch_size=8))
    parts: list[float] = []
    resumed.ask(VARIANTS, [(task, samples)], parts.append)
    assert resumed.computed == total - kept
    assert sum(parts) == total - kept
    assert_same(run.store, whole.store)
    assert begun_in(run.store) == 0


@pytest.mark.usefixtures("at_once")
def test_begun_tokens_save_passes(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.engines._rows import Rows

    samples = facts.samples("evaluate", 3, None)
    passes: list[int] = []
    real = Rows.logits
    monkeypatch.setattr(Rows, "logits", lambda self, *given: (passes.append(1), real(self, *given))[1])

    def resumed(name: str, share: float) -> tuple[int, list[dict[str, Any]]]:
        run = Evaluator(loaded, Store(tmp_path / name))
        interrupted(run, facts, samples, 0.7 * 3 * len(VARIANTS))
        saved = run.store.begun(list(keys(run)))
        assert saved
        run.store.add_begun({key: tokens[: int(share * len(tokens))] for key, tokens in saved.items()})
        passes.clear()
        Evaluator(loaded, run.store).ask(VARIANTS, [(facts, samples)])
        return len(passes), list(run.store.export())

    def keys(run: Evaluator) -> Iterable[Key]:
        return [key for variant in VARIANTS for key in run._ledger.keys(variant, facts, samples)]

    with_tokens, without = resumed("with", 1.0), resumed("without", 0.0)
    assert with_tokens[1] == without[1]
    assert with_tokens[0] < without[0]


@pytest.mark.usefixtures("at_once")
def test_a_second_interruption_loses_no_saved_token(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 3, None)
    run = Evaluator(loaded, Store(tmp_path / "run"))
    interrupted(run, facts, samples, 0.7 * 3 * len(VARIANTS))
    keys = [key for variant in VARIANTS for key in run._ledger.keys(variant, facts, samples)]
    first = run.store.begun(keys)
    assert max(map(len, first.values())) > 3
    # Right at the start, when hardly anything has been verified.
    interrupted(Evaluator(loaded, run.store), facts, samples, 0.0)
    second, stored = run.store.begun(keys), run.store.responses(keys)
    for key, tokens in first.items():
        assert key in stored or second[key][: len(tokens)] == tokens


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("options", [AskOptions(), AskOptions("transformers"), AskOptions(decoding=Decoding(0.8))])
def test_the_bar_moves_while_no_answer_ends(
    loaded: Loaded, tmp_path: Path, options: AskOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = facts.samples("evaluate", 4, None)
    evaluator = Evaluator(loaded, Store(tmp_path), options)
    parts: list[tuple[float, int]] = []
    evaluator.ask([(), (1,)], [(facts, samples)], lambda part: parts.append((part, evaluator.computed)))
    assert all(part > 0 for part, _ in parts)
    assert sum(part for part, _ in parts) == 8
    # Several times before the first answer is finished, and never beyond what is being computed.
    assert len([part for part, computed in parts if computed == 0]) >= 3
    assert sum(part for part, computed in parts if computed == 0) < 8


def test_sampled_answers_are_computed_as_whole_batches(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 6, None)
    options = AskOptions(decoding=Decoding(temperature=0.8, samples=2))
    whole, run = (Evaluator(loaded, Store(tmp_path / name), options) for name in ("whole", "run"))
    whole.ask([(1,), (2,)], [(facts, samples)])
    rows = list(whole.store.answered())
    # A part of one batch is stored.
    run.store.add([(key, response, verdict) for key, response, verdict, _ in rows[:4]])
    run.ask([(1,), (2,)], [(facts, samples)])
    assert run.computed == 24 - 4
    assert list(run.store.export()) == list(whole.store.export())


def test_a_run_folder_from_before_can_be_opened(tmp_path: Path) -> None:
    key = Key("m", "facts", 1, "s", "p", "greedy", "SweepEngine")
    with Store(tmp_path) as store:
        store.add([(key, Response("red", (1,), "stop"), Verdict("correct", 1.0))])
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database:
        database.execute("DROP TABLE begun")
        database.commit()
    with Store(tmp_path) as store:
        assert store.begun([key]) == {}
        store.add_begun({key: [1, 2]})
        assert store.begun([key]) == {key: [1, 2]}
        # As soon as there is a response, nothing is left of it.
        store.add([(key, Response("red", (1,), "stop"), Verdict("correct", 1.0))])
        assert store.begun([key]) == {}


def test_an_export_has_finished_responses_only(tmp_path: Path) -> None:
    key = Key("m", "facts", 1, "s", "p", "greedy", "SweepEngine")
    files = []
    for name in ("without", "with"):
        with Store(tmp_path / name) as store:
            store.add([(key, Response("red", (1,), "stop"), Verdict("correct", 1.0))])
            if name == "with":
                store.add_begun({key._replace(sample="other"): [1, 2, 3]})
            write_export(store, tmp_path / f"{name}.gz")
            files.append((tmp_path / f"{name}.gz").read_bytes())
    assert files[0] == files[1]


def test_expected_lengths() -> None:
    lengths = AnswerLengths(100)
    # Nothing has ended: half of what is left.
    assert lengths.expected([0, 0]) == pytest.approx([50.5, 50.5])
    assert lengths.expected([40, 40]) == pytest.approx([70.5, 70.5])
    # All answers so far had 20 tokens; one that is longer is unlike them.
    lengths.add([(20, "stop")] * 99)
    assert lengths.expected([5])[0] == pytest.approx(20, abs=2)
    assert lengths.expected([60])[0] == pytest.approx(80.5)
    # Half of the answers have 20 tokens, half are cut off.
    lengths.add([(100, "length")] * 99)
    assert lengths.expected([5])[0] == pytest.approx(60, abs=2)
    assert lengths.expected([60])[0] == pytest.approx(100, abs=1)
    assert lengths.expected([100]) == [100]


def test_parts_of_a_response() -> None:
    assert part_done(40, 0.5, 0, 80) == pytest.approx(0.1)
    assert part_done(40, 1.0, 30, 80) == pytest.approx(0.5)
    assert part_done(0, 1.0, 0, 0) == 0
