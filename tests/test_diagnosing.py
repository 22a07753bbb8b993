"""The stage `diagnose` of a study of the bundled model: what is asked, its log-probabilities, and resuming."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from oracles import deleted
from stored_rows import assert_same_rows

from layerlimits.evaluation.artifacts import Artifacts
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded, load
from layerlimits.results.diagnose import StoredRun, chosen, findings
from layerlimits.study import diagnosing
from layerlimits.study.config import StudyConfig, study_config
from layerlimits.study.pipeline import study
from layerlimits.study.session import Run
from layerlimits.tasks import choose
from layerlimits.types import Sample

NAMES = ["chains_probe", "results_probe"]


def _config(tasks: Sequence[str] = ("arithmetic", "word_problems"), limit: int = 4) -> StudyConfig:
    return study_config(
        "quick",
        model="reference",
        tasks=tasks,
        methods=("reverse",),
        ratios=(0.25,),
        select_tasks=("facts_choice",),
        limit=limit,
        select_items=4,
        calibration_items=4,
        recovery={"kinds": ()},
        speed_repeats=3,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study that asks as much as its answers have: the share that a study allows is few items."""
    out = tmp_path_factory.mktemp("diagnosed") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(diagnosing, "PROBE_FRAC", 1.0)
        study(_config(), out, "layerlimits study")
    return out


@pytest.fixture(scope="module")
def network() -> Loaded:
    """The bundled model."""
    return load("reference", device="cpu")


def _probes(folder: Path) -> dict[str, Any]:
    with Store(folder, read_only=True) as store:
        return {record["name"]: record for record in Artifacts(store).probes}


def _exported(folder: Path) -> list[str]:
    with Store(folder, read_only=True) as store:
        return [json.dumps(row, sort_keys=True) for row in store.export()]


def test_the_unpruned_the_single_layer_and_the_pruned_models_answer_every_item(run: Path) -> None:
    # Second chances are not asked of every model: tests/test_second_chances.py.
    records = {name: record for name, record in _probes(run).items() if ":" not in name}
    assert sorted(records) == NAMES
    with Store(run, read_only=True) as store:
        view = StoredRun.of(store)
        models = [view.base, *view.models]
        assert {model.stage for model in models} == {"base", "sweep", "prune"}
        assert len(models) == 2 + view.layers
        for record in records.values():
            assert record["ids"]
            for model in models:
                assert list(view.answers(model, record)) == record["ids"]
        assert "diagnose" in Artifacts(store).stages
        assert Artifacts(store).skipped == {}


def test_probes_are_no_tasks_of_the_results(run: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert {task["name"] for task in results["tasks"]} == {"arithmetic", "word_problems"}
    assert not {row["task"] for row in results["samples"]} & set(NAMES)
    assert {row["diagnostic"] for row in results["diagnostics"] if "nats" in row["sentence"]} == {
        "accumulation",
        "arithmetic",
    }


def _expected(network: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """The log-likelihoods of rows, one by one, in float64."""
    sums = []
    for context, continuation in rows:
        with torch.no_grad():
            logits = network(torch.tensor([context + continuation]), use_cache=False).logits[0].log_softmax(-1)
        places = range(len(context) - 1, len(context) + len(continuation) - 1)
        sums.append(sum(logits[place, token].item() for place, token in zip(places, continuation, strict=True)))
    return sums


@pytest.mark.parametrize("name", NAMES)
def test_log_probabilities_equal_those_of_stock_transformers(run: Path, network: Loaded, name: str) -> None:
    record = _probes(run)[name]
    with Store(run, read_only=True) as store:
        view = StoredRun.of(store)
        samples = {sample.id: sample for sample in _items(view, network, name)}
        pruned = next(model for model in view.models if model.stage == "prune")
        for model in (view.base, view.models[0], pruned):
            oracle = deleted(network.model, model.removed)
            for item in record["ids"][:1]:
                stored = view.answers(model, record)[item].response.logprobs
                assert stored == pytest.approx(_expected(oracle, samples[item].rows), abs=1e-4)


def _prompts(network: Loaded) -> dict[tuple[str, str], list[int]]:
    """The token ids of the prompts, by task and item."""
    config = _config()
    return {
        (task.name, sample.id): encode(network.tokenizer, sample).ids
        for task in choose(config.tasks or ())
        for sample in task.samples("evaluate", config.limit or 0, None)
    }


def _items(view: StoredRun, network: Loaded, name: str) -> list[Sample]:
    """The items of a probe, made again from the stored answers."""
    probe = next(one.probe for one in chosen() if one.probe and one.probe.name == name)
    prompts = _prompts(network)
    context = diagnosing.ProbeContext(view, network.tokenizer, lambda task, item: prompts[task["name"], item])
    return list(probe.items(context))


def test_items_are_the_results_and_the_right_answers_of_the_unpruned_model(run: Path, network: Loaded) -> None:
    with Store(run, read_only=True) as store:
        view = StoredRun.of(store)
        answers = {task["name"]: view.answers(view.base, task) for task in view.tasks}
        prompts = _prompts(network)
        for sample in _items(view, network, "chains_probe"):
            about = sample.meta["probe"]
            answer = answers[about["task"]][about["item"]]
            assert answer.verdict.value == 1
            chain = [token for _, part in sample.rows for token in part]
            assert tuple(chain) == answer.response.tokens
            assert [len(part) for _, part in sample.rows] == about["tokens"]
        for sample in _items(view, network, "results_probe"):
            about = sample.meta["probe"]
            tokens, start = answers[about["task"]][about["item"]].response.tokens, 0
            prompt = prompts[about["task"], about["item"]]
            for result in about["results"]:
                context, right = sample.rows[start]
                assert network.tokenizer.decode(right) == result["right"]
                written = len(context) - len(prompt)
                assert context == [*prompt, *tokens[:written]]
                # Operations that hold are the model's own; the answer to a question can be another one.
                assert about["task"] == "arithmetic" or tuple(right) == tokens[written : written + len(right)]
                start += result["rows"]
            assert start == len(sample.rows)


def test_the_findings_need_no_model(run: Path) -> None:
    with Store(run, read_only=True) as store:
        rows = list(findings(StoredRun.of(store), chosen(["arithmetic", "accumulation"])))
    measures = {row.measure for row in rows if row.estimate is not None}
    assert {"change in log-probability", "likeliest first digit", "rank of the right result"} <= measures
    assert {"excess loss", "growth of the excess loss", "excess loss by position"} <= measures
    # Without its first layer, the model gives the right results less.
    (worse,) = (
        row
        for row in rows
        if (row.measure, row.task, row.model) == ("change in log-probability", "word_problems", "without layer 0")
    )
    assert worse.high is not None
    assert worse.high < 0


def test_a_finished_study_asks_nothing_again(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosing, "PROBE_FRAC", 1.0)
    again = Path(shutil.copytree(run, tmp_path / "run"))
    study(_config(), again, "layerlimits study")
    assert _exported(again) == _exported(run)
    assert _probes(again) == _probes(run)


def test_an_interrupted_study_ends_with_the_same_answers(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnosing, "PROBE_FRAC", 1.0)
    resumed = Path(shutil.copytree(run, tmp_path / "run"))
    with closing(sqlite3.connect(resumed / "run.sqlite")) as database, database:
        for table in ("responses", "verdicts"):
            database.execute(f"DELETE FROM {table} WHERE task = 'chains_probe'")
            some = f"SELECT rowid FROM {table} WHERE task = 'results_probe' ORDER BY model, sample LIMIT 7"
            database.execute(f"DELETE FROM {table} WHERE rowid IN ({some})")
        database.execute("DELETE FROM artifacts WHERE name = 'probes'")
    assert len(_exported(resumed)) < len(_exported(run))
    study(_config(), resumed, "layerlimits study")
    with Store(resumed, read_only=True) as one, Store(run, read_only=True) as other:
        assert_same_rows(one, other)
    assert _probes(resumed) == _probes(run)


def _sample(name: str, tokens: int) -> Sample:
    return Sample(name, "", "evaluate", rows=(([1] * (tokens - 1), [2]),))


@pytest.mark.parametrize(("most", "count"), [(0, 0), (9, 0), (10, 1), (29.9, 1), (30, 2), (60, 3), (1000, 3)])
def test_the_first_items_that_fit_are_asked(most: float, count: int) -> None:
    items = [_sample("a", 10), _sample("b", 20), _sample("c", 30)]
    kept, tokens = diagnosing._first(items, most)
    assert kept == items[:count]
    assert tokens == sum((10, 20, 30)[:count])


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[float, list[dict[str, Any]]], tuple[Run, list[int]]]:
    """A run within a budget, with recorded probes: each item takes a second of a clock that only that moves."""
    state = SimpleNamespace(now=0.0)
    asked: list[int] = []

    def ask(run: Run, questions: diagnosing.Questions, variants: object) -> None:
        asked.extend(len(items) for _, items in questions)
        state.now += sum(len(items) for _, items in questions)

    monkeypatch.setattr(diagnosing, "_ask", ask)
    monkeypatch.setattr(diagnosing.time, "perf_counter", lambda: state.now)

    def make(share: float, recorded: list[dict[str, Any]]) -> tuple[Run, list[int]]:
        left_out: list[str] = []
        run = SimpleNamespace(
            artifacts=SimpleNamespace(probes=recorded), share=lambda stage: share, leave_out=left_out.extend
        )
        run.left_out = left_out
        return cast(Run, run), asked

    return make


@pytest.mark.parametrize(
    ("share", "counts", "left_out"),
    [
        (1000.0, [40, 40], []),
        # After a chunk of 16 items, another one would end too late.
        (40.0, [16, 16], ["some items of chains_probe and results_probe"]),
        (100.0, [40, 40], []),
        (70.0, [32, 32], ["some items of chains_probe and results_probe"]),
    ],
)
def test_within_a_budget_chunks_are_asked_until_the_time_is_used(
    timed: Callable[..., tuple[Run, list[int]]], share: float, counts: list[int], left_out: list[str]
) -> None:
    run, _ = timed(share, [])
    items = [_sample(str(number), 5) for number in range(40)]
    probes = [one.probe for one in chosen(["accumulation", "arithmetic"]) if one.probe]
    done = diagnosing._within_budget(run, [(probe, items) for probe in probes], [()])
    assert [len(some) for _, some in done] == counts
    assert run.left_out == left_out  # type: ignore[attr-defined]  # of the stand-in


def test_what_was_asked_within_a_budget_stays(timed: Callable[..., tuple[Run, list[int]]]) -> None:
    run, asked = timed(1000.0, [{"name": "chains_probe", "ids": ["a", "b", "c"]}])
    items = [_sample(str(number), 5) for number in range(40)]
    probes = [one.probe for one in chosen(["accumulation", "arithmetic"]) if one.probe]
    done = diagnosing._within_budget(run, [(probe, items) for probe in probes], [()])
    assert [len(some) for _, some in done] == [3, 0]
    assert asked == [3, 0]


def test_a_study_of_choice_tasks_asks_no_probe(tmp_path: Path) -> None:
    out = tmp_path / "run"
    study(_config(("facts_choice",), 3), out, "layerlimits study")
    assert _probes(out) == {}
    sentences = [row["sentence"] for row in json.loads((out / "results.json").read_text())["diagnostics"]]
    assert any("the run has no answers to results_probe" in sentence for sentence in sentences)
