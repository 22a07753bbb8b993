"""What is asked is stored, and what is stored is not asked again."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from layerlimits.engines.scripted import scripted
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.prompts import batches, encode
from layerlimits.evaluation.store import Store, response_key
from layerlimits.models.load import Loaded
from layerlimits.tasks.facts import facts
from layerlimits.tasks.facts_choice import facts_choice
from layerlimits.types import Response, Verdict


def _evaluator(loaded: Loaded, folder: Path, size: int = 4) -> tuple[Evaluator, scripted]:
    evaluator = Evaluator(loaded, Store(folder), batch_size=size)
    engine = scripted(lambda ids: Response("red", (1, 2, 3), "stop"))
    evaluator.engine = engine
    return evaluator, engine


def test_nothing_stored_is_computed_again(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 10, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    first = evaluator.verdicts((), facts, samples)
    assert engine.generated == evaluator.computed == 10
    assert evaluator.verdicts((), facts, samples) == first
    evaluator.store.close()
    again, fresh = _evaluator(loaded, tmp_path)
    assert again.verdicts((), facts, samples) == first
    assert fresh.generated == again.computed == 0
    assert [verdict.value for verdict in first] == [float(sample.target == "red") for sample in samples]


def test_another_removal_is_another_model(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 4, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    for removed in ((), (1,), (2, 1), (1, 2)):
        evaluator.verdicts(removed, facts, samples)
    assert engine.generated == 12
    assert len({row["model"] for row in evaluator.store.export()}) == 3
    assert {tuple(model["removed"]) for model in evaluator.store.models().values()} == {(), (1,), (1, 2)}


def test_ticks_add_up(loaded: Loaded, tmp_path: Path) -> None:
    evaluator, _ = _evaluator(loaded, tmp_path)
    ticks: list[int] = []
    evaluator.verdicts((), facts, facts.samples("evaluate", 10, None), ticks.append)
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
    keys = [response_key(loaded.ref, facts, sample, "p", "greedy") for sample in samples]
    good = (keys[0], Response("red", (1,), "stop"), Verdict("correct", 1.0))
    unfit = (keys[1], Response("red", (1,), object()), good[2])  # type: ignore[arg-type]  # SQLite takes no objects
    with pytest.raises(sqlite3.Error):
        store.add([good, unfit])
    assert store.verdict(keys[0]) is None
    store.add([good])
    assert store.response(keys[0]) == good[1]
    assert store.verdict(keys[0]) == good[2]
    assert store.verdict(keys[1]) is None


def test_an_older_scorers_verdict_is_replaced_and_nothing_is_generated_again(loaded: Loaded, tmp_path: Path) -> None:
    samples = facts.samples("evaluate", 6, None)
    evaluator, engine = _evaluator(loaded, tmp_path)
    evaluator.verdicts((), facts, samples)
    mended = replace(facts, scorer=facts.scorer + 1, score=lambda sample, response: Verdict("wrong", 0.25, strict=0.0))
    assert [verdict.value for verdict in evaluator.verdicts((), mended, samples)] == [0.25] * 6
    assert engine.generated == 6
    rows = list(evaluator.store.export())
    assert [(row["text"], row["value"], row["strict"]) for row in rows] == [("red", 0.25, 0.0)] * 6


def test_a_run_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("CREATE TABLE responses (model TEXT)")
    with pytest.raises(UserError, match="another version"):
        Store(tmp_path)


def test_logprobs_are_kept_to_five_digits(loaded: Loaded, tmp_path: Path) -> None:
    sample = facts_choice.samples("evaluate", 1, None)[0]
    store = Store(tmp_path)
    key = response_key(loaded.ref, facts_choice, sample, "p", "greedy")
    store.add([(key, Response("", (), "likelihood", (-1.2345678, -2.0)), Verdict("wrong", 0.0))])
    stored = store.response(key)
    assert stored is not None
    assert stored.logprobs == (-1.23457, -2.0)


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
    evaluator = Evaluator(loaded, Store(tmp_path), batch_size=6)
    evaluator.verdicts((), facts, samples)
    evaluator.verdicts((), facts_choice, samples)
    asked = [encode(loaded.tokenizer, sample) for sample in samples]
    for task in (facts, facts_choice):
        for prompt, key in zip(asked, evaluator.keys(loaded.ref, task, samples), strict=True):
            stored = evaluator.store.response(key)
            assert stored is not None
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
                alone = sum(likely[len(prompt.ids) + at - 1, token].item() for at, token in enumerate(choice))
                assert logprob == pytest.approx(alone, abs=1e-4)
