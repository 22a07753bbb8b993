"""Training answers: draws, filters, export, and everything that is refused before work begins."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from harness_tasks import write_rows
from recovery_models import EXAMPLES, QUESTIONS, QUICK, WORDS, listed, prompts
from test_recover import COLOURS, run_recover

import layerlimits.recovery.recover as recover_module
from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.models.save import RECIPE, read_recipe
from layerlimits.recovery.answers import AnswerFilter, generate_answers, own_answers
from layerlimits.recovery.data import training_prompts
from layerlimits.recovery.instructions import instruction_prompts
from layerlimits.recovery.rows import to_rows
from layerlimits.tasks import choose
from layerlimits.types import Decoding, FinishReason, Response, Sample, Verdict

pytest_plugins = ["recovery_fixtures"]


def scripted(loaded: Loaded, folder: Path, answers: dict[str, list[Response]], **decoding: Any) -> Evaluator:
    """An evaluator whose model gives these answers to prompts with these texts, one after another."""
    remaining = {text: iter(responses) for text, responses in answers.items()}

    def respond(ids: list[int]) -> Response:
        prompt = loaded.tokenizer.decode(ids)
        return next(next(responses) for text, responses in remaining.items() if text in prompt)

    options = AskOptions(decoding=Decoding(**decoding))
    return Evaluator(loaded, Store(folder), options, ScriptedEngine(respond))


def said(text: str, finish: FinishReason = "stop") -> Response:
    return Response(text, (5, 6, 7), finish)


def test_several_answers_per_prompt_are_kept_apart_and_computed_once(base: Loaded, tmp_path: Path) -> None:
    answers_to = {"one?": [said("a"), said("c")], "two?": [said("b", "length"), said("d")]}
    evaluator = scripted(base, tmp_path, answers_to, temperature=0.9, samples=2, seed=3)
    samples = prompts("one?", "two?")
    for _ in range(2):
        answers = generate_answers(evaluator, samples, 8, draws=2)
        assert [(known.answer, known.draw) for known in answers.examples] == [("a", 0), ("c", 1), ("d", 1)]
        assert answers.counts == {"truncated": 1}
    assert evaluator.computed == 4
    assert [known.sample for known in answers.examples] == [samples[0], samples[0], samples[1]]


def test_truncated_answers_can_be_kept_and_do_not_teach_to_stop(base: Loaded, tmp_path: Path) -> None:
    evaluator = scripted(base, tmp_path, {"1?": [said("a")], "2?": [said("b", "length")], "3?": [said("")]})
    answers = generate_answers(evaluator, prompts("1?", "2?", "3?"), 8, kept=AnswerFilter(keep_truncated=True))
    assert answers.counts == {"empty": 1}
    end = base.tokenizer.eos_token_id
    finished, truncated = to_rows(base.tokenizer, end, answers.examples, 128)
    assert (finished["labels"][-1], truncated["labels"][-1]) == (end, base.tokenizer("b")["input_ids"][-1])


def test_only_correct_answers_are_kept_if_asked(base: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = choose(["facts", "word_problems"])
    samples = training_prompts(tasks, 4, None)
    first, _, _, fourth = samples
    assert [sample.meta["task"] for sample in samples] == ["facts", "word_problems"] * 2
    right = fourth.target.rpartition("####")[2].strip()
    texts = (first.target, "#### 123456", "a wrong fact", f"so it is {right}\n#### {right}")
    answers_to = {sample.prompt: [said(text)] for sample, text in zip(samples, texts, strict=True)}
    monkeypatch.setattr(base.model.config, "max_position_embeddings", 4096)
    evaluator = scripted(base, tmp_path, answers_to)
    answers = generate_answers(evaluator, samples, 8, kept=AnswerFilter(scored_by=tuple(tasks)))
    assert [known.sample for known in answers.examples] == [first, fourth]
    assert answers.counts == {"wrong": 2}


def test_tasks_that_cannot_score_answers_select_none(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="facts_choice cannot score free answers, so that correct ones"):
        AnswerFilter(scored_by=tuple(choose(["facts", "facts_choice"])))
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": "Name a colour."}])
    for config, settings, words in (
        ({"correct_only": True, "data": str(data)}, QUICK, "no task scores the answers to the prompts of"),
        ({"correct_only": True}, replace(QUICK, objective="own"), "the objective own uses no responses"),
        ({"decoding": Decoding(0.9)}, replace(QUICK, objective="own"), "temperature is set, but the objective own"),
    ):
        with pytest.raises(UserError, match=words):
            run_recover(pruned, taught, tmp_path / "out", settings=settings, **config)


def test_own_answers_are_those_shown_in_examples(base: Loaded, tmp_path: Path) -> None:
    samples = [replace(sample, target="#### 5", shown="It is 5.\n#### 5") for sample in prompts("2 + 3?")]
    samples += [Sample("1 + 1?", " 2 ", "train"), Sample("no answer?", " ", "train")]
    answers = own_answers(Evaluator(base, Store(tmp_path)), samples)
    assert [known.answer for known in answers.examples] == ["It is 5.\n#### 5", "2"]
    assert answers.counts == {"empty": 1}
    with pytest.raises(UserError, match="none of the 1 training prompts comes with an answer"):
        own_answers(Evaluator(base, Store(tmp_path)), samples[2:])


def _coloured(sample: Sample, response: Response) -> Verdict:
    return Verdict("correct", 1.0) if response.text in WORDS else Verdict("wrong", 0.0)


def test_a_dataset_trains_is_exported_and_evaluated_at_milestones(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    rows = [{"question": question, "answer": word} for question, word in zip(QUESTIONS, WORDS, strict=True)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    splits: dict[str, list[Sample]] = {"train": [], "select": prompts("colour 7?", "colour 8?"), "evaluate": []}
    task = replace(COLOURS, samples=lambda split, limit, _: splits[split][:limit], score=_coloured)
    for objective in ("own", "self", "distill"):
        out, file = tmp_path / objective, tmp_path / f"{objective}.jsonl"
        results = run_recover(
            pruned,
            taught,
            out,
            tasks=[task],
            settings=replace(QUICK, objective=objective),
            max_new_tokens=8,
            data=str(data),
            save_answers=file,
            milestones=2,
        )
        assert (results["objective"], results["examples"], results["dropped"]) == (objective, 5, 0)
        assert [len(point["scores"]["colours"]) for point in results["curve"]] == [2, 2, 2]
        assert results["best_tokens"] in [point["tokens"] for point in results["curve"][1:]]
        exported = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
        assert [row["messages"] for row in exported] == [
            [{"role": "user", "content": question}, {"role": "assistant", "content": word}]
            for question, word in zip(QUESTIONS, WORDS, strict=True)
        ]
        origin = None if objective == "own" else taught.ref.base_fingerprint
        decoding = None if objective == "own" else "greedy"
        assert {(row["model"], row["decoding"], row["finish"]) for row in exported} == {(origin, decoding, "stop")}
        # The export is itself a dataset of prompts.
        assert [sample.prompt for sample in instruction_prompts(file, 10)] == QUESTIONS
        assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_command_that_was_interrupted_after_the_export_resumes(
    pruned: Path, taught: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, task = tmp_path / "answers.jsonl", listed("colours", prompts(*QUESTIONS), ())

    def stop(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recover_module, "finetune", stop)
    with pytest.raises(KeyboardInterrupt):
        run_recover(pruned, taught, tmp_path / "out", tasks=[task], settings=QUICK, save_answers=file)
    monkeypatch.undo()
    written = file.read_bytes()
    results = run_recover(pruned, taught, tmp_path / "out", tasks=[task], settings=QUICK, save_answers=file)
    assert results["examples"] == len(written.splitlines()) > 0
    assert file.read_bytes() == written
    # Answers of another training are not replaced.
    (tmp_path / ".again.run").mkdir()
    file.write_bytes(b"{}")
    with pytest.raises(UserError, match="already exists"):
        run_recover(pruned, taught, tmp_path / "again", tasks=[task], settings=QUICK, save_answers=file)
    assert file.read_bytes() == b"{}"


@pytest.mark.parametrize(
    "planted",
    [
        "Which animal of the northern woods sleeps through most of the winter?",
        "WHICH  animal of the\nnorthern woods sleeps THROUGH most of the winter ?",
        "<|user|>which animal of the northern woods sleeps through most of the winter?<|assistant|>",
        "Answer briefly.\n\nQuestion: which animal of the northern woods sleeps through most of the winter?\nAnswer:",
    ],
    ids=["as it is", "case and spaces", "a template", "other instructions"],
)
def test_a_planted_evaluation_item_is_refused(planted: str, pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    question = "Which animal of the northern woods sleeps through most of the winter?"
    task = listed("animals", prompts(*QUESTIONS), (Sample(question, "the bear", "evaluate"),))
    rows = [*({"instruction": text, "output": "x"} for text in QUESTIONS), {"instruction": planted, "output": "bear"}]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(UserError, match="1 of 7 training prompts contain evaluated items, such as 'Which animal"):
        run_recover(pruned, taught, tmp_path / "out", tasks=[task], data=str(data), items=10)
    results = run_recover(pruned, taught, tmp_path / "out", tasks=[task], data=str(data), items=6, max_new_tokens=8)
    assert results["examples"] == 6


def test_items_of_every_benchmark_in_the_data_folder_are_refused(
    pruned: Path, taught: Loaded, benchmarks: Path, tmp_path: Path
) -> None:
    """Also of those that are not among the tasks: the model may be evaluated on them later."""
    (item,) = choose(["arc_easy"])[0].samples("evaluate", 1, benchmarks)
    planted = item.question.upper().replace(" ", "  ")
    data = write_rows(tmp_path / "rows.jsonl", [{"prompt": planted}, {"prompt": "Name a colour."}])
    task = listed("mine", prompts("a"))
    with pytest.raises(UserError, match="1 of 2 training prompts contain evaluated items, such as '"):
        run_recover(pruned, taught, tmp_path / "out", tasks=[task], data=str(data), data_dir=benchmarks)


def test_what_cannot_work_is_refused_before_weights_are_read(
    pruned: Path, taught: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerlimits.recovery.recover.load", lambda *_, **__: pytest.fail("weights were loaded"))
    (tmp_path / "there.jsonl").write_text("")
    narrow = Path(shutil.copytree(pruned, tmp_path / "narrow"))
    (narrow / RECIPE).unlink()
    config = json.loads((narrow / "config.json").read_text())
    (narrow / "config.json").write_text(json.dumps(config | {"num_key_value_heads": 4}))

    def refused(words: str, folder: Path = pruned, **changes: Any) -> None:
        with pytest.raises(UserError, match=words) as caught:
            run_recover(folder, taught, tmp_path / "out", **changes)
        assert caught.value.fix

    refused("leaves room for an answer within 5 tokens", settings=replace(QUICK, max_length=5))
    refused("'c_attn' is not a module", settings=replace(QUICK, kind="lora", lora_targets=("c_attn",)))
    refused("no selection items for the recovery curve", milestones=3, tasks=[replace(COLOURS, samples=_no_select)])
    refused("milestones is -1, but must be 0 or more", milestones=-1)
    refused("already exists", save_answers=tmp_path / "there.jsonl")
    refused("is not named .jsonl", save_answers=tmp_path / "answers.csv")
    refused("has no prompt that is not blank", data=str(write_rows(tmp_path / "blank.jsonl", [{"prompt": " "}])))


def _no_select(split: str, limit: int, folder: Path | None) -> list[Sample]:
    return [] if split == "select" else prompts(*QUESTIONS)[:limit]


def test_every_answer_too_long_is_one_error(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    longest = max(len(known.prompt_ids) for known in EXAMPLES)
    with pytest.raises(UserError, match=r"none of the 6 examples fits in \d+ tokens"):
        run_recover(pruned, taught, tmp_path / "out", settings=replace(QUICK, max_length=longest + 2), max_new_tokens=8)
    assert not (tmp_path / "out").exists()


def test_a_parent_of_another_shape_is_refused(pruned: Path, taught: Loaded, tmp_path: Path) -> None:
    wide = Path(shutil.copytree(taught.folder, tmp_path / "wide"))
    config = json.loads((wide / "config.json").read_text())
    # Weights of this shape would be missing or too many; the configuration alone decides here.
    (wide / "config.json").write_text(json.dumps(config | {"model_type": "mistral", "architectures": None}))
    bare = Path(shutil.copytree(pruned, tmp_path / "bare"))
    (bare / RECIPE).unlink()
    with pytest.raises(UserError, match="their model_type is llama and mistral"):
        run_recover(bare, replace(taught, folder=wide), tmp_path / "out")


def test_the_command_takes_every_setting(
    pruned: Path, taught: Loaded, tmp_path: Path, says: Callable[..., Any], refused: Callable[..., str]
) -> None:
    rows = [{"instruction": question, "output": word} for question, word in zip(QUESTIONS, WORDS, strict=True)]
    data = write_rows(tmp_path / "rows.jsonl", rows)
    options = ["--parent", taught.folder, "--tasks", "brackets", "--data", data, "--device", "cpu"]
    printed = says(
        "recover", pruned, *options, "--out", tmp_path / "out", "--preset", "paper", "--kind", "lora",
        "--objective", "own", "--optimizer", "adafactor", "--lora-rank", 4, "--lora-targets", "q_proj,v_proj",
        "--batch-size", 2, "--gradient-checkpointing", "--max-length", 100, "--no-chat", "--warmup-steps", 0,
        "--lr", 0.001, "--adam-beta2", 0.95, "--packing",
    )  # fmt: skip
    assert (printed["objective"], printed["examples"]) == ("own", 6)
    settings = (read_recipe(tmp_path / "out") or {})["finetune"]["settings"]
    changed = {"kind": "lora", "optimizer": "adafactor", "lora_rank": 4, "lr": 0.001, "adam_beta2": 0.95}
    assert changed.items() < settings.items()
    assert printed["adapted"] == ["self_attn.q_proj.weight", "self_attn.v_proj.weight"]
    said = refused("recover", pruned, *options, "--out", tmp_path / "x", "--report-to", "nowhere")
    assert "cannot report to 'nowhere'" in said
    said = refused("recover", pruned, *options, "--out", tmp_path / "x", "--samples", 3)
    assert "3 samples at temperature 0 would be identical" in said
