"""What is missing, and what is stored, is read with one query, however many variants and samples are asked."""

from itertools import combinations
from pathlib import Path

import pytest

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.evaluation import store as store_module
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Key, Store
from layerlimits.models.load import Loaded
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Response, Task, Variant, Verdict

VARIANTS: list[Variant] = [variant for size in range(4) for variant in combinations(range(6), size)][:30]


def statements(store: Store, evaluator: Evaluator, variants: list[Variant], task: Task, items: int) -> list[str]:
    """SQL statements of asking and reading, but for the rows that are inserted, and removed where they were begun."""
    seen: list[str] = []
    store._db.set_trace_callback(seen.append)
    evaluator.verdicts(variants, task, task.samples("evaluate", items, None))
    store._db.set_trace_callback(None)
    return [text.partition(" ")[0] for text in seen if not text.startswith(("INSERT", "DELETE"))]


@pytest.mark.parametrize("task", [facts, facts_choice], ids=lambda task: task.name)
def test_the_number_of_statements_does_not_grow(task: Task, loaded: Loaded, tmp_path: Path) -> None:
    counts = []
    for variants, items in ((VARIANTS[:3], 5), (VARIANTS, 50)):
        with Store(tmp_path / str(items)) as store:
            engine = ScriptedEngine(lambda ids: Response("red", (1,), "stop"))
            evaluator = Evaluator(loaded, store, AskOptions(), engine)
            first = statements(store, evaluator, variants, task, items)
            again = statements(store, evaluator, variants, task, items)
            assert evaluator.computed == len(variants) * items
            counts.append((first, again))
    few, many = counts
    assert len(VARIANTS) == 30
    assert few == many
    assert few[1] == ["SELECT", "SELECT"]
    assert few[0].count("SELECT") <= 5


def test_chunks_of_keys_are_read_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [Key("m", 'a "quoted" täsk', 1, str(number), "p", "greedy", "e") for number in range(20)]
    response, verdict = Response("red", (1, 2), "stop", (-1.5,)), Verdict("correct", 1.0, measures={"acc_norm": 0.5})
    monkeypatch.setattr(store_module, "_CHUNK", 7)
    with Store(tmp_path) as store:
        store.add([(key, response, verdict) for key in keys[::3]], 2)
        absent = [key for key in keys if key not in keys[::3]]
        assert store.missing(keys) == store.missing(keys, 2) == absent
        assert store.missing(keys, 3) == keys
        assert store.missing([]) == []
        assert store.responses(keys) == dict.fromkeys(keys[::3], response)
        assert store.verdicts(keys, 2) == dict.fromkeys(keys[::3], verdict)
        assert store.verdicts(keys, 1) == {}
        # Another engine's answers, and those to another prompt, are others.
        for other in ({"engine": "f"}, {"prompt": "q"}, {"decoding": "greedy max=2"}, {"version": 2}):
            assert store.missing([keys[0]._replace(**other)]) == [keys[0]._replace(**other)]


def test_an_item_that_a_task_has_twice_is_stored_once(loaded: Loaded, tmp_path: Path) -> None:
    answers = iter(["first", "second"])
    engine = ScriptedEngine(lambda ids: Response(next(answers), (1,), "stop"))
    (sample,) = facts.samples("evaluate", 1, None)
    with Store(tmp_path) as store:
        evaluator = Evaluator(loaded, store, AskOptions(), engine)
        ((first, second),) = evaluator.verdicts([()], facts, [sample, sample])
        assert first == second
        assert [(row["text"], row["answer"]) for row in store.export()] == [("first", first.answer)]
