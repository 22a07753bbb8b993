"""A study goes on from an export as if it had never stopped; the export has no text of an item."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from exports import config, contents, figures, lines, rows, strings
from small_models import saved, small_llama, talkative_llama
from stored_runs import finished_study

import layerlimits as ll
from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import TYPES, Artifacts, _Value
from layerlimits.evaluation.store import Key, Store
from layerlimits.evaluation.variants import VariantBatcher
from layerlimits.recovery import finetune as finetuning
from layerlimits.study import stages
from layerlimits.study.pipeline import study
from layerlimits.types import Response, Verdict

Says = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(talkative_llama(4), tmp_path_factory.mktemp("talkative") / "model")


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study that was never interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    study(config(model), out, "layerlimits study")
    return out


@pytest.fixture
def imported(whole: Path, tmp_path: Path) -> Path:
    """The finished study, carried to another folder."""
    return carried(whole, tmp_path)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """Fills with the keys of all responses that the engine is asked for."""
    keys: list[Key] = []
    compute = VariantBatcher._compute

    def logged(self: VariantBatcher, group: Any, recorder: Any) -> Any:
        keys.extend(key for batch in group for column in batch.keys.values() for key in column if key in batch.missing)
        return compute(self, group, recorder)

    monkeypatch.setattr(VariantBatcher, "_compute", logged)
    return keys


def carried(run: Path, folder: Path, name: str = "imported") -> Path:
    ll.export_run(run, folder / f"{name}.layerlimits.gz")
    ll.import_run(folder / f"{name}.layerlimits.gz", folder / name)
    return folder / name


def stored(run: Path) -> set[Key]:
    return {Key(*row) for row in rows(run, f"SELECT {', '.join(Key._fields)} FROM responses")}


@pytest.mark.parametrize("stage", ["sweep", "rank", "prune"])
def test_an_interrupted_study_ends_on_another_machine_as_an_uninterrupted_one(
    stage: str, whole: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, computed: list[Key]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(stages, stage, interrupted)
        with pytest.raises(KeyboardInterrupt):
            study(config(model), tmp_path / "first", "layerlimits study")
    out = carried(tmp_path / "first", tmp_path)
    before = stored(out)
    assert before == stored(tmp_path / "first")
    assert not rows(out, "SELECT * FROM samples") + rows(out, "SELECT * FROM prompts")
    elsewhere = Path(shutil.copytree(model, tmp_path / "elsewhere"))
    computed.clear()
    study(config(elsewhere), out, "layerlimits study")
    assert set(computed) == stored(whole) - before
    assert len(computed) == len(set(computed))
    assert contents(out) == contents(whole)
    theirs, mine = figures(whole), figures(out)
    assert mine["model"].pop("name") == str(elsewhere)
    assert theirs["model"].pop("name") == str(model)
    theirs = json.loads(json.dumps(theirs).replace(str(model), str(elsewhere)))
    assert mine == theirs


def test_a_finished_study_computes_and_trains_nothing_and_needs_no_weights(
    whole: Path, imported: Path, model: Path, computed: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "finetune", None)
    assert contents(imported) != contents(whole)
    study(config(model), imported, "layerlimits study")
    assert computed == []
    assert contents(imported) == contents(whole)
    assert figures(imported) == figures(whole)
    assert len(figures(imported)["recovery"]) == 1
    assert not (imported / "models").exists()


def test_the_same_holds_on_the_first_machine(
    whole: Path, model: Path, tmp_path: Path, computed: list[Key], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    shutil.rmtree(run / "models")
    monkeypatch.setattr(finetuning, "finetune", None)
    study(config(model), run, "layerlimits study")
    assert computed == []
    assert figures(run) == figures(whole)


def test_a_recovered_model_with_missing_answers_is_trained_again(
    whole: Path, model: Path, tmp_path: Path, computed: list[Key]
) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with Store(run) as store, store._db:
        (record,) = Artifacts(store).recovered.values()
        gone = "DELETE FROM {} WHERE model = ? AND task = 'brackets'"
        for table in ("responses", "verdicts"):
            store._db.execute(gone.format(table), (record["fingerprint"],))
    out = carried(run, tmp_path)
    before = stored(out)
    study(config(model), out, "layerlimits study")
    # On the same processor the weights are the same, so the other answers of this model still apply.
    assert set(computed) == stored(whole) - before
    assert {key.task for key in computed} == {"brackets"}
    assert (out / "models" / "reverse-2-full" / "model.safetensors").is_file()
    assert figures(out) == figures(whole)


def test_another_training_is_not_taken_for_the_recorded_one(whole: Path, model: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    with Store(run) as store:
        (name, record) = next(iter(Artifacts(store).recovered.items()))
        Artifacts(store).recovered = {name: {**record, "key": "another", "examples": -1}}
    study(config(model), run, "layerlimits study")
    assert figures(run) == figures(whole)


def test_a_report_of_an_imported_run_leaves_out_what_requires_items(tmp_path: Path) -> None:
    finished_study(tmp_path / "run")
    out = carried(tmp_path / "run", tmp_path)
    theirs, mine = ll.open_run(tmp_path / "run"), ll.write_report(out)
    assert theirs.samples
    assert not mine.samples
    (note,) = set(mine.notes) - set(theirs.notes)
    assert note.startswith("The items of facts@likelihood, facts@free, word_problems are not in this run folder")
    assert "Resume the study with its data" in note
    assert note in (out / "report.html").read_text()
    for name in ("degeneration", "flips", "sensitivity"):
        by_response = [row for row in theirs.diagnostics if row.diagnostic == name]
        assert [row for row in mine.diagnostics if row.diagnostic == name] == by_response
        assert by_response
    same = set(vars(theirs)) - {"created", "notes", "samples", "diagnostics"}
    assert {name: getattr(mine, name) for name in same} == {name: getattr(theirs, name) for name in same}


def test_an_export_has_no_text_of_an_item(whole: Path, model: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    every = ll.compare_methods(str(model), options=ll.RankOptions(layers=1, items=4, tasks=("facts_choice",)), out=run)
    assert len(every.rankings) > 8
    ll.export_run(run, tmp_path / "study.layerlimits.gz")
    _, *content = lines(tmp_path / "study.layerlimits.gz")
    for row in content:
        if row["kind"] == "responses":
            assert row["verdict"].pop("answer") in row["response"].pop("text")
    said = set(strings(content))
    assert any(row["kind"] == "artifacts" and row["name"].startswith("once ") for row in content)
    with Store(run) as store:
        tasks = {task for (task,) in rows(run, "SELECT DISTINCT task FROM samples")}
        items = [item for task in tasks for item in store.samples(task).values()]
        prompts = [text for (text,) in rows(run, "SELECT json_extract(content, '$.text') FROM prompts")]
    questions = {item["prompt"] for item in items}
    assert len(questions) > 50
    for text in said:
        assert not any(question in text for question in questions)
    exact = {text for item in items for text in (item["target"], *item["choices"])} | set(prompts)
    assert len(exact) > 100
    assert not exact & said


def test_texts_of_verdicts_that_could_quote_an_item_are_left_out_and_scored_again(tmp_path: Path) -> None:
    said = "So it is 12."
    verdicts = {
        "right": (Response(said, (1,), "stop"), Verdict("correct", 1.0, "12")),
        "reason": (Response(said, (1,), "stop"), Verdict("wrong", 0.0, "12", "not 41")),
        "choice": (Response("", (), "likelihood", (-1.0,)), Verdict("wrong", 0.0, "Paris", measures={"acc_norm": 0.5})),
        "too long": (Response("", (), "context"), Verdict("error", 0.0, why="context too long: 9 tokens")),
    }
    with Store(tmp_path / "run") as store:
        manifest: Any = {"made_by": "m", "model": "m", "base_fingerprint": "f", "revision": None, "dtype": "float32"}
        Artifacts(store).manifest = manifest | {"batch_size": 8}
        keys = {name: Key("m", "t", 1, name, "p", "greedy", "E") for name in verdicts}
        store.add([(keys[name], *answered) for name, answered in verdicts.items()], 3)
        store.put("rankings", {"mine": _ranking(rounds=[1]), "plug-in": _ranking(quoted=["What is 5 + 7?"])})
        store.put("once 0123456789abcdef", {"losses": [1.5, None]})
        store.put("once fedcba9876543210", {"answers": ["What is 5 + 7?"]})
        store.put("unknown", 3)
    with Store(carried(tmp_path / "run", tmp_path)) as store:
        assert store.verdicts(list(keys.values()), 3) == {
            keys[name]: verdicts[name][1] for name in ("right", "too long")
        }
        assert store.missing(list(keys.values()), 3) == [keys["reason"], keys["choice"]]
        again = store.verdicts([keys["choice"]], 0)
        assert again == {keys["choice"]: Verdict("wrong", 0.0, measures={"acc_norm": 0.5})}
        assert store.responses(list(keys.values())) == {keys[name]: verdicts[name][0] for name in verdicts}
        assert store.names() == ["manifest", "once 0123456789abcdef", "rankings"]
        assert [ranking["detail"] for ranking in Artifacts(store).rankings.values()] == [{"rounds": [1]}, {}]


def _ranking(**detail: Any) -> dict[str, Any]:
    plain = {"scores": [1.0, None], "order": [0], "used": [], "largest_first": False, "source": "", "seconds": 1}
    return plain | {"detail": detail}


def test_an_export_of_an_import_is_the_same_file(imported: Path, tmp_path: Path) -> None:
    first = (tmp_path / "imported.layerlimits.gz").read_bytes()
    again = ll.export_run(imported, tmp_path / "again.gz")
    assert (tmp_path / "again.gz").read_bytes() == first
    assert again.without_weights == ("reverse-2-full",)
    assert again.responses == len(stored(imported))
    assert again.models + again.artifacts + again.responses == len(lines(tmp_path / "again.gz")) - 1
    assert (imported / "manifest.json").read_text().startswith('{\n "made_by"')


def test_an_export_sees_one_state_of_a_run_that_goes_on(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    key = Key("m", "zzz", 1, "s", "p", "greedy", "E")
    with Store(run) as store, Store(run) as other:
        with store.snapshot():
            before = len(store.models()), len(list(store.answered()))
            other.add([(key, Response("a", (1,), "stop"), Verdict("correct", 1.0, "a"))])
            assert (len(store.models()), len(list(store.answered()))) == before
        assert len(list(store.answered())) == before[1] + 1


def test_another_model_is_refused_with_both_names_and_the_fix_works(
    imported: Path, model: Path, tmp_path: Path
) -> None:
    other = saved(small_llama(4), tmp_path / "other")
    before = contents(imported)
    with pytest.raises(UserError) as error:
        study(config(other), imported, "layerlimits study")
    assert error.value.problem.startswith(f"{imported} contains a run with another model: {model} (")
    assert f"not {other} (" in error.value.problem
    assert "--out" in error.value.fix
    assert contents(imported) == before
    study(config(other, recovery={"kinds": ()}, methods=("reverse",), limit=2), tmp_path / "new", "layerlimits study")
    study(config(model), imported, "layerlimits study")


def test_runs_of_other_commands_are_carried(says: Says, tiny: Path, tmp_path: Path, computed: list[Key]) -> None:
    asked = ("sweep", tiny, "--tasks", "facts,facts_choice", "--limit", 3, "--out")
    first = says(*asked, tmp_path / "run")
    out = carried(tmp_path / "run", tmp_path)
    computed.clear()
    assert says(*asked, out) == first
    assert computed == []
    assert contents(out) == contents(tmp_path / "run")
    with pytest.raises(UserError, match="does not contain a study"):
        ll.open_run(out)


def test_the_commands_say_what_is_left_out(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from layerlimits.cli import main

    monkeypatch.chdir(tmp_path)
    count = len(stored(whole))
    for words in (["export", str(whole)], ["import", "run.layerlimits.gz", "--out", "here"]):
        monkeypatch.setattr("sys.argv", ["layerlimits", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        printed = capsys.readouterr().out
        assert f"{count:,} responses of" in printed
        assert "Texts of benchmark items are not included" in printed
        assert "Weights of finetuned models are not included (reverse-2-full)" in printed
    assert "with --out here" in printed


def test_every_stored_value_has_its_type() -> None:
    assert set(TYPES) == {name for name, value in vars(Artifacts).items() if isinstance(value, _Value)}
