"""Default tasks and calibration text of evaluate, sweep, rank, prune and recover depend on the model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from harness_tasks import write_rows

import layerlimits as ll
from layerlimits.api import choosing
from layerlimits.api import tasks as tasks_of_api
from layerlimits.evaluation.calibration import WORLD, Calibration, default_calibration
from layerlimits.models.save import read_recipe
from layerlimits.plugins import names
from layerlimits.recovery import recover as recovery
from layerlimits.study.defaults import default_select_tasks
from layerlimits.tasks import SUITES, choose

Says = Callable[..., Any]
Refused = Callable[..., str]

# Tasks of the suite `real` that the fixture `benchmarks` has, in the order of the suite.
READABLE = ["gsm8k", "brackets", "arc_easy"]
NOTE = "Default tasks that cannot be measured here: "
SHORT = ll.Decoding(max_new_tokens=2)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A data folder without any benchmark."""
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


@pytest.fixture
def spy(tmp_path: Path) -> tuple[Path, Callable[[], dict[str, Any]]]:
    """A method that records its tasks and the source of its calibration text, and a function that reads the record."""
    file, record = tmp_path / "spy.py", tmp_path / "seen.json"
    file.write_text(
        "import json\n"
        "from pathlib import Path\n"
        "from layerlimits.methods import by_score\n"
        "def spy(context):\n"
        "    seen = {'tasks': [task.name for task in context.tasks], 'source': context.calibration.source}\n"
        f"    Path({str(record)!r}).write_text(json.dumps(seen))\n"
        "    return by_score('spy', [float(layer) for layer in range(context.depth)], ())\n"
    )
    return file, lambda: json.loads(record.read_text())


def test_evaluate_asks_what_fits_the_model(tiny: Path, foreign: Path, benchmarks: Path) -> None:
    options = ll.EvalOptions(limit=1, data_dir=benchmarks, decoding=SHORT)
    other = ll.evaluate(foreign, options=options)
    assert [score.name for score in other.scores] == READABLE
    assert other.warnings[0].startswith(NOTE)
    assert "hellaswag (" in other.warnings[0]
    assert sum(warning.startswith(NOTE) for warning in other.warnings) == 1
    own = ll.evaluate(tiny, options=replace(options, data_dir=None))
    assert tuple(score.name for score in own.scores) == SUITES["reference"]
    assert not any(warning.startswith(NOTE) for warning in own.warnings)


def test_tasks_that_are_named_are_asked_of_any_model(foreign: Path, benchmarks: Path) -> None:
    results = ll.evaluate(foreign, "facts_choice", ll.EvalOptions(limit=1, data_dir=benchmarks))
    assert [score.name for score in results.scores] == ["facts_choice"]
    assert not any(warning.startswith(NOTE) for warning in results.warnings)


def test_sweep_asks_what_fits_the_model(says: Says, tiny: Path, foreign: Path, benchmarks: Path) -> None:
    options = ("--limit", 1, "--layers", 3, "--max-new-tokens", 2)
    other = says("sweep", foreign, *options, "--data-dir", benchmarks)
    assert list(other["base"]) == READABLE
    assert other["warnings"][0].startswith(NOTE)
    assert list(says("sweep", tiny, *options)["base"]) == list(SUITES["reference"])
    given = ll.EvalOptions(limit=1, data_dir=benchmarks, decoding=SHORT)
    in_memory = ll.sweep(ll.load(foreign), None, given, layers=[3])
    assert [score.name for score in in_memory.base] == READABLE


def test_prompt_settings_apply_to_default_tasks(says: Says, foreign: Path, benchmarks: Path) -> None:
    options = ("--limit", 1, "--max-new-tokens", 2, "--data-dir", benchmarks)
    asked = says("evaluate", foreign, *options, "--shots", 1)
    assert list(asked["scores"]) == [f"{name}:shots=1" for name in READABLE]
    given = ll.EvalOptions(limit=1, data_dir=benchmarks, decoding=SHORT)
    results = ll.evaluate(foreign, ll.DefaultTasks(shots=1), given)
    assert [score.name for score in results.scores] == list(asked["scores"])


def test_rank_chooses_by_what_fits_the_model(
    says: Says, tiny: Path, foreign: Path, benchmarks: Path, spy: tuple[Path, Callable[[], dict[str, Any]]]
) -> None:
    method, seen = spy
    says("rank", foreign, "--method", method, "--items", 4, "--data-dir", benchmarks)
    assert seen() == {
        "tasks": ["gsm8k", "brackets"],
        "source": f"items that are not evaluated, of {', '.join(READABLE)}",
    }
    says("rank", foreign, "--method", method, "--items", 4, "--data-dir", benchmarks, "--tasks", "arc_easy")
    assert seen() == {"tasks": ["arc_easy"], "source": "items that are not evaluated, of arc_easy"}
    ll.compare_methods(tiny, [str(method), "reverse"], ll.RankOptions(items=4))
    assert seen() == {"tasks": ["word_problems", "functions", "summaries"], "source": WORLD}


def test_without_generation_tasks_the_choice_tasks_select(foreign: Path, benchmarks: Path) -> None:
    (arc,) = default_select_tasks(foreign, choose(["arc_easy"]), benchmarks)
    assert arc.name == "arc_easy"


def test_prune_chooses_and_replaces_by_what_fits_the_model(
    says: Says,
    foreign: Path,
    benchmarks: Path,
    tmp_path: Path,
    spy: tuple[Path, Callable[[], dict[str, Any]]],
) -> None:
    method, seen = spy
    options = ("--items", 4, "--data-dir", benchmarks)
    pruned = says("prune", foreign, "--method", method, "--layers", 1, *options, "--out", tmp_path / "p")
    assert pruned["removed"] == [0]
    assert seen()["tasks"] == ["gsm8k", "brackets"]
    says("prune", foreign, "--remove", 2, "--replacement", "linear", *options, "--out", tmp_path / "q")
    text = default_calibration(ll.load(foreign).tokenizer, 4, choose(READABLE), benchmarks)
    assert (read_recipe(tmp_path / "q") or {})["calibration"] == list(text.hashes)


def test_recover_trains_on_what_fits_the_model(
    tiny: Path, foreign: Path, benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[list[str]] = []

    def recover(pruned: str, parent: str, out: Path, tasks: list[ll.Task], *settings: object) -> dict[str, Any]:
        trained.append([task.name for task in tasks])
        return {"model": "", "parent": "", "pruned": "", "examples": 0, "dropped": 0, "trained_tokens": 0, "seconds": 0}

    monkeypatch.setattr(recovery, "recover", recover)
    for parent in (foreign, tiny):
        pruned = tmp_path / parent.parent.name
        ll.prune(parent, pruned, ll.PruneOptions(remove=(1,)))
        ll.recover(pruned, parent, tmp_path / "out", options=ll.RecoverOptions(data_dir=benchmarks))
    assert trained == [READABLE, list(SUITES["reference"])]
    rare = tmp_path / "rare.py"
    rare.write_text(
        "from dataclasses import replace\n"
        "from layerlimits.tasks.facts import facts\n"
        "samples = lambda split, *given: [] if split == 'train' else facts.samples(split, *given)\n"
        "rare = replace(facts, name='rare', samples=samples)\n"
    )
    monkeypatch.setattr(tasks_of_api, "default_names", lambda *given, **named: ((str(rare), "brackets"), ()))
    ll.recover(tmp_path / foreign.parent.name, foreign, tmp_path / "out")
    assert trained[-1] == ["brackets"]


def test_no_benchmark_at_all_is_the_same_error_everywhere_and_its_fix_works(
    says: Says, refused: Refused, foreign: Path, empty: Path, tmp_path: Path
) -> None:
    out, data = ("--out", tmp_path / "out"), ("--data-dir", empty)
    ll.prune(foreign, tmp_path / "pruned", ll.PruneOptions(remove=(1,)))
    commands: dict[str, tuple[object, ...]] = {
        "evaluate": (foreign, "--limit", 1, "--max-new-tokens", 2),
        "sweep": (foreign, "--limit", 1, "--max-new-tokens", 2, "--layers", 2),
        "rank": (foreign, "--method", "block_influence", "--items", 2),
        "prune": (foreign, "--method", "block_influence", "--layers", 1, "--items", 2, *out),
        "recover": (tmp_path / "pruned", "--parent", foreign, *out),
    }
    for name, arguments in commands.items():
        said = refused(name, *arguments, *data)
        assert f"default benchmarks can be read in {empty}: " in said, name
        assert "name tasks (--tasks), such as brackets, which needs no files" in said, name
        if name != "recover":
            assert says(name, *arguments, *data, "--tasks", "brackets"), name


@pytest.mark.parametrize("method", sorted(set(names("methods")) - {"task_score", "chain_loss"}))
def test_every_method_that_reads_text_gets_it(method: str, foreign: Path, benchmarks: Path) -> None:
    ranked = ll.rank(foreign, method, ll.RankOptions(layers=1, items=2, data_dir=benchmarks))
    without_text = {"reverse", "random", "magnitude"}
    assert (len(ranked.ranking.used) > 0) == (method not in without_text)
    assert ranked.ranking.order


def test_methods_that_use_neither_tasks_nor_text_need_no_benchmark(
    says: Says, refused: Refused, foreign: Path, empty: Path, tmp_path: Path
) -> None:
    ranked = says("rank", foreign, "--method", "reverse,magnitude,random", "--data-dir", empty)
    assert set(ranked["rankings"]) == {"reverse", "magnitude", "random"}
    text = tmp_path / "text.txt"
    text.write_text("The river rose for days.\n\nThe hills were dry.\n")
    assert says("rank", foreign, "--method", "block_influence", "--data-dir", empty, "--calibration", text)["used"]
    said = refused("rank", foreign, "--method", "task_score", "--data-dir", empty, "--calibration", text)
    assert "default benchmarks can be read" in said


def test_what_is_evaluated_by_default_neither_calibrates_nor_selects(
    refused: Refused, foreign: Path, benchmarks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gsm8k,) = choose(["gsm8k"])
    evaluated = gsm8k.samples("evaluate", 3, benchmarks)
    file = write_rows(tmp_path / "text.jsonl", [{"text": sample.question} for sample in evaluated])
    ranking = ("rank", foreign, "--data-dir", benchmarks, "--method")
    # As a file, and as the default text.
    said = refused(*ranking, "block_influence", "--calibration", file)
    assert "3 of 3 calibration texts contain evaluated items" in said
    text = Calibration(((1, 2),), ("hash",), "mine", (1,), (evaluated[0].question,))
    with monkeypatch.context() as patched:
        patched.setattr(choosing, "default_calibration", lambda *given: text)
        said = refused(*ranking, "block_influence")
    assert "1 of 1 calibration texts contain evaluated items" in said
    leaking = replace(gsm8k, samples=lambda split, limit, folder: evaluated)
    monkeypatch.setattr(choosing, "default_select_tasks", lambda *given: (leaking,))
    assert "3 of 3 selection items contain evaluated items" in refused(*ranking, "task_score")
