"""A program that uses every public function with its types; mypy checks it in test_api_types.py, nothing runs it."""

from pathlib import Path
from typing import assert_type

from transformers import PreTrainedModel

import layerlimits as ll


def models() -> None:
    model = ll.load("reference", revision=None, dtype="float32", device="cpu")
    assert_type(model, ll.Model)
    assert_type(model.layers, int)
    assert_type(model.name, str)
    assert_type(model.network, PreTrainedModel)
    assert_type(model.options, ll.ModelOptions)
    with ll.without_layers(model, [3, 4]) as network:
        assert_type(network, PreTrainedModel)
    texts = ll.calibration(model, 8, "texts.jsonl", max_tokens=128)
    assert_type(texts, ll.Calibration)
    assert_type(texts.ids, tuple[tuple[int, ...], ...])


def scores() -> None:
    tasks = ll.get_tasks("arithmetic", "facts", protocols=("free",), shots=2, chat=True)
    assert_type(tasks, list[ll.Task])
    decoding = ll.Decoding(temperature=0.7, top_p=0.9, top_k=40, seed=1, samples=4, max_new_tokens=64)
    options = ll.EvalOptions(
        limit=20,
        data_dir=Path("data"),
        decoding=decoding,
        unsafe=False,
        difference=0.1,
        whole=False,
        batch_size=32,
        max_rows=512,
        template=ll.ChatOptions(system="Be brief.", args={"enable_thinking": False}),
    )
    source = ll.ModelOptions("reference", revision="main", dtype="auto", device="auto")
    scored = ll.evaluate(source, tasks, options, out="run")
    assert_type(scored, ll.EvaluateResults)
    assert_type(scored.scores[0].score, ll.Estimate)
    swept = ll.sweep(Path("model"), "arithmetic", options=options, out=Path("run"), layers=[3, 8, 9])
    assert_type(swept, ll.SweepResults)
    assert_type(ll.evaluate("reference", ll.DefaultTasks(protocols=("free",), shots=2, chat=False)), ll.EvaluateResults)
    assert_type(swept.sweep[0].comparison.retention, ll.Estimate | None)
    compared = ll.compare("reference", ll.ModelOptions("other"), tasks, options, out="run")
    assert_type(compared, ll.CompareResults)
    assert_type(compared.tasks[0].difference, ll.Estimate)
    assert_type(ll.diagnose("run", ["arithmetic"]), ll.DiagnoseResults)
    assert_type(ll.score("gsm8k", "answers.jsonl", "data", unsafe=False), ll.ScoreResults)


def pruning() -> None:
    options = ll.RankOptions(
        layers=3,
        protect=(0,),
        tasks=("word_problems",),
        items=16,
        calibration="texts.txt",
        seed=1,
        data_dir=Path("data"),
        batch_size=32,
        max_rows=512,
    )
    ranked = ll.rank("reference", "magnitude:p=2", options, out="run")
    assert_type(ranked, ll.RankResults)
    assert_type(ranked.ranking.order, tuple[int, ...])
    assert_type(ll.compare_methods("reference", ["reverse", "random"], options, "run"), ll.RankingsComparison)
    assert_type(ll.catalogue(), ll.Catalogue)
    chosen = ll.PruneOptions(method="angular", layers=3, ratio=None, remove=None, replacement="linear")
    pruned = ll.prune("reference", "pruned", chosen, options, command="mine")
    assert_type(pruned, ll.PruneResults)
    assert_type(pruned.removed, tuple[int, ...])
    assert_type(ll.push_to_hub("pruned", "me/pruned", private=True), str)
    finetune = ll.FinetuneConfig(kind="lora", lr=1e-4, epochs=2, lora_rank=16)
    recover_options = ll.RecoverOptions(items=100, data_dir=None, max_new_tokens=64, finetune=finetune)
    assert_type(ll.recover_options("paper", ll.finetune_config("paper", kind="lora"), milestones=6), ll.RecoverOptions)
    recovered = ll.recover("pruned", "reference", "recovered", ["arithmetic"], recover_options, command="mine")
    assert_type(recovered, ll.RecoverResults)
    assert_type(recovered.trained_tokens, int)


def studies() -> None:
    config = ll.StudyConfig(
        model="reference",
        preset="standard",
        tasks=("arithmetic",),
        limit=20,
        protocols=("free",),
        methods=("reverse",),
        ratios=(0.25,),
        recovery=ll.RecoverySettings(kinds=("full",), items=100),
    )
    assert_type(ll.study_config("quick", Path("study.toml"), limit=20), ll.StudyConfig)
    planned = ll.plan(config, "run")
    assert_type(planned, ll.PlanResults)
    assert_type(planned.seconds, float)
    try:
        results = ll.run_study(config, "run", command="mine")
    except ll.UserError as error:
        assert_type(error.fix, str)
    else:
        assert_type(results, ll.StudyResults)
    assert_type(ll.open_run("run"), ll.StudyResults)
    gated = ll.gate("run", ["generation>=0.9"], "random-1")
    assert_type(gated, ll.GateResults)
    assert_type(gated.passed, bool)
    assert_type(ll.advise(Path("run"), ("mean>=0.9",)), ll.AdviseResults)
    assert_type(ll.open_run(Path("run")).answer, str)
    assert_type(ll.write_report("run", "report.html"), ll.StudyResults)
    assert_type(ll.write_comparison(["a", Path("b")], "both.html"), dict[str, ll.StudyResults])
    assert_type(ll.write_figures("run", "figures"), tuple[Path, ...])
    assert_type(ll.markdown_tables("run"), str)
    exported = ll.export_run("run", Path("study.layerlimits.gz"))
    assert_type(exported, ll.CarryResults)
    assert_type(exported.without_weights, tuple[str, ...])
    assert_type(ll.import_run("study.layerlimits.gz", Path("run")), ll.CarryResults)
    verified = ll.verify_run("run")
    assert_type(verified, ll.VerifyResults)
    assert_type(verified.sound, bool)
    merged = ll.merge_runs(["first", Path("second")], "run")
    assert_type(merged, ll.MergeResults)
    assert_type(merged.conflicts, int)
    assert_type(ll.__version__, str)
