"""What is computed reaches the store as it is computed, and an interrupted call is continued where it was."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stored_rows import assert_same_rows
from stored_runs import to_schema_3
from test_sweep_engine import VARIANTS

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
    assert_same_rows(run.store, whole.store)
    assert begun_in(run.store) == 0


@pytest.mark.usefixtures("at_once")
def test_begun_tokens_save_passes(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerlimits.engines._rows import Rows

    samples = facts.samples("evaluate", 3, None)
    passes: list[int] = []
    real = Rows.logits
    monkeypatch.setattr(Rows, "logits", lambda self, *given: (passes.append(1), real(self, *given))[1])

    def resumed(name: str, share: float) -> tuple[int, Store]:
        run = Evaluator(loaded, Store(tmp_path / name))
        interrupted(run, facts, samples, 0.7 * 3 * len(VARIANTS))
        saved = run.store.begun(list(keys(run)))
        assert saved
        run.store.add_begun({key: tokens[: int(share * len(tokens))] for key, tokens in saved.items()})
        passes.clear()
        Evaluator(loaded, run.store).ask(VARIANTS, [(facts, samples)])
        return len(passes), run.store

    def keys(run: Evaluator) -> Iterable[Key]:
        return [key for variant in VARIANTS for key in run._ledger.keys(variant, facts, samples)]

    with_tokens, without = resumed("with", 1.0), resumed("without", 0.0)
    assert_same_rows(with_tokens[1], without[1])
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
        to_schema_3(database)
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
    # What an interrupted call had written is only read: 60 tokens of prompt and answer, then 60 more to write.
    assert part_done(40, 1.0, 0, 80, begun=20) == pytest.approx(20 / 90)
    assert part_done(40, 1.0, 20, 80, begun=20) == pytest.approx(30 / 90)
    assert part_done(40, 1.0, 50, 80, begun=20) == pytest.approx(60 / 90)
    # Longer than expected.
    assert 0.9 < part_done(40, 1.0, 90, 80, begun=85) <= 1
