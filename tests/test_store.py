"""What is asked is stored, and what is stored is not asked again."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import batches, encode
from layerlimits.evaluation.store import Key, Store
from layerlimits.models.load import Loaded
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Response, Sample, Task, Verdict


def _evaluator(loaded: Loaded, folder: Path, size: int = 4) -> tuple[Evaluator, ScriptedEngine]:
    engine = ScriptedEngine(lambda ids: Response("red", (1, 2, 3), "stop"))
    return Evaluator(loaded, Store(folder), AskOptions(batch_size=size), engine), engine


def _key(loaded: Loaded, task: Task, sample: Sample) -> Key:
    return Key(loaded.ref.fingerprint, task.name, task.version, sample.id, "p", "greedy", "ScriptedEngine")


def test_nothing_stored_is_computed_again(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 10, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    first = evaluator.verdicts([()], facts, samples)
    assert engine.generated == evaluator.computed == 10
    assert evaluator.verdicts([()], facts, samples) == first
    evaluator.store.close()
    again, fresh = _evaluator(loaded, tmp_path)
    assert again.verdicts([()], facts, samples) == first
    assert fresh.generated == again.computed == 0
    assert [verdict.value for verdict in first[0]] == [float(sample.target == "red") for sample in samples]


def test_another_removal_is_another_model(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 4, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    for removed in ((), (1,), (2, 1), (1, 2)):
        evaluator.verdicts([removed], facts, samples)
    assert engine.generated == 12
    assert len({row["model"] for row in evaluator.store.export()}) == 3
    assert {tuple(model["removed"]) for model in evaluator.store.models().values()} == {(), (1,), (1, 2)}


def test_ticks_add_up(loaded: Loaded, tmp_path: Path) -> None:
    evaluator, _ = _evaluator(loaded, tmp_path)
    ticks: list[float] = []
    evaluator.verdicts([()], facts, facts.samples("evaluate", 10, None), ticks.append)
    assert ticks == [4, 4, 2]


def test_batches_are_a_function_of_the_prompts_alone(loaded: Loaded) -> None:
    prompts = [encode(loaded.tokenizer, sample) for sample in facts.samples("evaluate", 20, None)]
    formed = list(batches(prompts, 6))
    assert formed == list(batches(prompts[::-1], 6))
    assert [len(batch) for _, batch in formed] == [6, 6, 6, 2]
    lengths = [len(prompt.ids) for _, batch in formed for prompt in batch]
    assert lengths == sorted(lengths)


def test_a_batch_is_stored_whole_or_not_at_all(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 2, None)
    store = Store(tmp_path)
    keys = [_key(loaded, facts, sample) for sample in samples]
    good = (keys[0], Response("red", (1,), "stop"), Verdict("correct", 1.0))
    unfit = (keys[1], Response("red", (1,), object()), good[2])  # type: ignore[arg-type]  # not a text
    with pytest.raises(TypeError):
        store.add([good, unfit])
    assert store.missing(keys) == store.missing(keys, 1) == keys
    store.add([good])
    assert store.responses(keys) == {keys[0]: good[1]}
    assert store.verdicts(keys) == {keys[0]: good[2]}
    assert store.missing(keys) == store.missing(keys, 1) == [keys[1]]
    assert store.missing(keys, 2) == keys


def test_an_older_scorers_verdict_is_replaced_and_nothing_is_generated_again(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 6, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    evaluator.verdicts([()], facts, samples)
    mended = replace(facts, scorer=facts.scorer + 1, score=lambda sample, response: Verdict("wrong", 0.25, strict=0.0))
    assert [verdict.value for verdict in evaluator.verdicts([()], mended, samples)[0]] == [0.25] * 6
    assert engine.generated == 6
    rows = list(evaluator.store.export())
    assert [(row["text"], row["value"], row["strict"]) for row in rows] == [("red", 0.25, 0.0)] * 6


def test_a_run_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("CREATE TABLE responses (model TEXT)")
    with pytest.raises(UserError, match="another version"):
        Store(tmp_path)


def test_a_run_folder_without_engines_in_its_keys_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database:
        database.execute("CREATE TABLE responses (model TEXT, text TEXT)")
        database.execute("INSERT INTO responses VALUES ('m', 'red')")
        database.execute("PRAGMA user_version=2")
        database.commit()
    with pytest.raises(UserError, match=r"another version of layerlimits \(schema 2, expected 4\)"):
        Store(tmp_path)
    with closing(sqlite3.connect(tmp_path / "run.sqlite")) as database:
        assert database.execute("SELECT * FROM responses").fetchall() == [("m", "red")]
        assert database.execute("PRAGMA user_version").fetchone() == (2,)


def test_logprobs_are_kept_to_five_digits(loaded: Loaded, tmp_path: Path) -> None:
    sample = facts_choice.samples("evaluate", 1, None)[0]
    store = Store(tmp_path)
    key = _key(loaded, facts_choice, sample)
    store.add([(key, Response("", (), "likelihood", (-1.2345678, -2.0)), Verdict("wrong", 0.0))])
    assert store.responses([key])[key].logprobs == (-1.23457, -2.0)


def test_artifacts_come_back_and_are_replaced(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.get("plans") is None
        store.put("plans", [1])
        store.put("plans", {"a": [2.5, None]})
    with Store(tmp_path) as store:
        assert store.get("plans") == {"a": [2.5, None]}


def test_the_real_engine_agrees_with_stock_generate_and_stock_logits(loaded: Loaded, tmp_path: Path) -> None:
    import torch

    samples = facts_choice.samples("evaluate", 6, None)
    evaluator = Evaluator(loaded, Store(tmp_path), AskOptions(batch_size=6))
    evaluator.verdicts([()], facts, samples)
    evaluator.verdicts([()], facts_choice, samples)
    asked = [encode(loaded.tokenizer, sample) for sample in samples]
    for task in (facts, facts_choice):
        for prompt, stored in zip(asked, evaluator.responses((), task, samples), strict=True):
            ids = torch.tensor([prompt.ids])
            if task is facts:
                stock = loaded.model.generate(ids, max_new_tokens=facts.max_new_tokens, do_sample=False)[
                    0, ids.shape[1] :
                ]
                wanted = [token for token in stock.tolist() if token != loaded.tokenizer.eos_token_id]
                assert list(stored.tokens) == wanted
                continue
            for (_, choice), logprob in zip(prompt.rows, stored.logprobs, strict=True):
                whole = torch.tensor([prompt.ids + choice])
                with torch.no_grad():
                    likely = loaded.model(whole).logits[0].log_softmax(-1)
                alone = sum(likely[len(prompt.ids) + place - 1, token].item() for place, token in enumerate(choice))
                assert logprob == pytest.approx(alone, abs=1e-4)
