"""Choice benchmarks through lm-evaluation-harness: what is asked, and what is scored, is what the harness does."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from choice_rows import TASKS, asked_with, choice_folder, rows
from harness_tasks import asked_alone, harness_logs, logprobs, pairs
from tokenizers.processors import TemplateProcessing

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.models.remove import without_layers
from layerlimits.plugins import find
from layerlimits.types import Response, Sample, Verdict


def read_as(loaded: Loaded, sample: Sample) -> tuple[tuple[str, str], ...]:
    """The sample's pairs as text: chat messages through the model's template."""
    from layerlimits.lm_eval_bridge import chat_text

    return tuple(
        (asked if isinstance(asked, str) else chat_text(loaded.tokenizer, asked), continuation)
        for asked, continuation in sample.pairs
    )


@pytest.mark.parametrize(("shots", "chat"), [(0, False), (5, False), (2, True)])
@pytest.mark.parametrize("name", TASKS)
def test_items_are_asked_as_the_harness_asks_them(
    name: str, shots: int, chat: bool, loaded: Loaded, tmp_path: Path
) -> None:
    from layerlimits.lm_eval_bridge import encode_pair

    data = choice_folder(tmp_path / "data", name, 8, 20)
    samples = asked_with(name, shots, chat).samples("evaluate", 100, data)
    settings = {"num_fewshot": shots, "apply_chat_template": chat, "fewshot_as_multiturn": chat}
    test, examples = rows(name, range(8)), rows(name, range(500, 520))
    theirs = harness_logs(tmp_path / "theirs", name, asked_alone(loaded.tokenizer), test, examples, **settings)
    for part, log in theirs.items():
        mine = [sample for sample in samples if sample.meta.get("set", "") == part]
        assert [read_as(loaded, sample) for sample in mine] == pairs(log)
        tokens = [[encode_pair(loaded.tokenizer, *pair) for pair in item] for item in pairs(log)]
        assert [encode(loaded.tokenizer, sample).rows for sample in mine] == tokens
    assert len(samples) == 8
    if shots:
        # The first ones are the same whatever the limit.
        assert [sample.pairs for sample in asked_with(name, shots, chat).samples("evaluate", 3, data)] == [
            sample.pairs for sample in samples[:3]
        ]


@pytest.mark.parametrize("name", TASKS)
def test_scores_are_the_harness_s_own(name: str, loaded: Loaded, tmp_path: Path) -> None:
    from lm_eval.models.huggingface import HFLM

    from layerlimits.lm_eval_bridge import EngineLM, quiet

    data = choice_folder(tmp_path / "data", name)
    task = find("tasks", name)
    samples = task.samples("evaluate", 100, data)
    evaluator = Evaluator(loaded, Store(tmp_path / "run"), AskOptions("hflm"))
    (verdicts,) = evaluator.verdicts([(2,)], task, samples)
    ours: dict[str, list[tuple[Sample, Verdict]]] = {}
    for sample, verdict in zip(samples, verdicts, strict=True):
        ours.setdefault(sample.meta.get("set", ""), []).append((sample, verdict))
    test, examples = rows(name, range(12)), rows(name, range(500, 509))
    with without_layers(loaded.model, (2,)), quiet():
        theirs = harness_logs(
            tmp_path / "one", name, HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer), test, examples
        )
        engine = EngineLM(find("engines", "transformers")(loaded.model, loaded.tokenizer), loaded.tokenizer, 512, 5)
        again = harness_logs(tmp_path / "two", name, engine, test, examples)
    for part, log in theirs.items():
        assert [verdict.value for _, verdict in ours[part]] == [item["acc"] for item in log]
        assert [verdict.outcome for _, verdict in ours[part]] == [
            ("wrong", "correct")[int(item["acc"])] for item in log
        ]
        norms = [{"acc_norm": item["acc_norm"]} if "acc_norm" in item else {} for item in log]
        assert [dict(verdict.measures) for _, verdict in ours[part]] == norms
        for sample, verdict in ours[part]:
            assert (verdict.answer == sample.target) == bool(verdict.value)
        # Our engine as one of its models.
        assert [item["acc"] for item in again[part]] == [item["acc"] for item in log]
        for mine, other in zip(logprobs(again[part]), logprobs(log), strict=True):
            assert mine == pytest.approx(other, abs=1e-4, rel=0)


@pytest.mark.parametrize("name", TASKS)
def test_our_tasks_are_where_and_what_the_harness_s_are(name: str) -> None:
    from lm_eval.tasks._yaml_loader import load_yaml

    from layerlimits.lm_eval_bridge import TASKS as FOLDER

    task = find("tasks", name)
    asked = task.samples.benchmark
    theirs = load_yaml(FOLDER / asked.yaml.format("anatomy"))
    assert theirs["task"] == (f"{name}_anatomy" if name == "mmlu" else name)
    assert asked.hub == theirs["dataset_path"]
    assert asked.config == ("all" if name == "mmlu" else theirs["dataset_name"])
    assert asked.split == (theirs.get("test_split") or theirs["validation_split"])
    assert asked.examples == (theirs.get("fewshot_split") or theirs["training_split"])
    group = load_yaml(FOLDER / "mmlu/default/_mmlu.yaml") if name == "mmlu" else theirs
    assert task.summary.endswith(f"as in lm-evaluation-harness ({name} {group['metadata']['version']})")


def test_a_killed_evaluation_resumes(loaded: Loaded, tmp_path: Path) -> None:
    task = find("tasks", "arc_easy")
    samples = task.samples("evaluate", 100, choice_folder(tmp_path / "data", "arc_easy"))
    run = tmp_path / "run"

    def evaluator(weigh: Callable[[list[int], list[int]], float]) -> tuple[Evaluator, ScriptedEngine]:
        engine = ScriptedEngine(lambda _: Response("", (), "stop"), weigh)
        return Evaluator(loaded, Store(run), AskOptions(batch_size=5), engine), engine

    def dies(_: list[int], continuation: list[int]) -> float:
        if first.generated > 15:
            raise KeyboardInterrupt
        return -float(sum(continuation))

    killed, first = evaluator(dies)
    with pytest.raises(KeyboardInterrupt):
        killed.verdicts([()], task, samples)
    killed.store.close()
    resumed, second = evaluator(lambda _, continuation: -float(sum(continuation)))
    verdicts = resumed.verdicts([()], task, samples)
    # 12 items of three options, of which the first batch of 5 was there.
    assert (first.generated, second.generated) == (30, 21)
    engine = ScriptedEngine(lambda _: Response("", (), "stop"), lambda _, continuation: -float(sum(continuation)))
    fresh = Evaluator(loaded, Store(tmp_path / "other"), AskOptions(batch_size=5), engine)
    assert fresh.verdicts([()], task, samples) == verdicts
    assert list(fresh.store.export()) == list(resumed.store.export())


@pytest.mark.parametrize(
    "asked", ["Question: why?\nAnswer:", "Ends in spaces:  ", "", "<|bos|><|user|>why?<|assistant|>"]
)
@pytest.mark.parametrize("begins", [False, True])
def test_pairs_are_tokenized_as_hflm_does(
    asked: str, begins: bool, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    from layerlimits.lm_eval_bridge import encode_pair, quiet

    bos = ("<|bos|>", loaded.tokenizer.bos_token_id)
    if begins:
        # Most tokenizers begin a text with this token; that of the reference model leaves it to the chat template.
        made: Any = loaded.tokenizer
        made.backend_tokenizer.post_processor = TemplateProcessing(single="<|bos|> $A", special_tokens=[bos])
    rows: list[Any] = []
    with quiet():
        theirs = HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer)
    monkeypatch.setattr(theirs, "_loglikelihood_tokens", lambda requests, **_: rows.extend(requests) or [])
    theirs.loglikelihood([Instance("loglikelihood", {}, (asked, " because"), 0)], disable_tqdm=True)
    context, continuation = encode_pair(loaded.tokenizer, asked, " because")
    assert [(context, continuation)] == [row[1:] for row in rows]
    assert context.count(bos[1]) == (begins or asked in ("", "<|bos|><|user|>why?<|assistant|>"))
    spaces = "  " if asked.endswith(" ") else ""
    assert loaded.tokenizer.decode(continuation) == f"{spaces} because"
    sample = Sample("why?", "because", "evaluate", ("because",), pairs=((asked, " because"),))
    assert encode(loaded.tokenizer, sample).rows == [(context, continuation)]


def test_hflm_leaves_the_model_as_it_is_and_says_nothing(loaded: Loaded, capfd: pytest.CaptureFixture[str]) -> None:
    before = {name: (weight.data_ptr(), weight.dtype) for name, weight in loaded.model.named_parameters()}
    rows = [([1, 2, 3], [4, 5]), ([1, 2], [9]), ([1, 2], [7]), ([1, 2, 3, 4, 5, 6], [8, 9, 10])]
    single, many = find("engines", "hflm"), find("engines", "hflm:batch_size=3")
    for removed in ((), (0, 4)):
        with without_layers(loaded.model, removed):
            wanted = find("engines", "transformers")(loaded.model, loaded.tokenizer).loglikelihood_batch(rows)
            for engine in (single, many):
                answers = engine(loaded.model, loaded.tokenizer).loglikelihood_batch(rows)
                assert [greedy for _, greedy in answers] == [greedy for _, greedy in wanted]
                assert [sum_ for sum_, _ in answers] == pytest.approx([sum_ for sum_, _ in wanted], abs=1e-4, rel=0)
        (together,) = single(loaded.model, loaded.tokenizer).loglikelihoods([removed], rows)
        assert [greedy for _, greedy in together] == [greedy for _, greedy in wanted]
        assert [sum_ for sum_, _ in together] == pytest.approx([sum_ for sum_, _ in wanted], abs=1e-4, rel=0)
    after = {name: (weight.data_ptr(), weight.dtype) for name, weight in loaded.model.named_parameters()}
    assert after == before
    assert loaded.model.device == torch.device("cpu")
    assert capfd.readouterr() == ("", "")


def test_hflm_generates_as_transformers_does(loaded: Loaded) -> None:
    answers = find("engines", "transformers")(loaded.model, loaded.tokenizer).generate_batch([[1, 2, 3], [4, 5]], 6)
    engine = find("engines", "hflm")(loaded.model, loaded.tokenizer)
    assert engine.generate_batch([[1, 2, 3], [4, 5]], 6) == answers
    assert engine.generate([()], [[1, 2, 3], [4, 5]], 6) == [answers]


def test_a_template_without_a_system_role_goes_without_its_message(loaded: Loaded) -> None:
    from layerlimits.lm_eval_bridge import chat_text

    question = {"role": "user", "content": "why?"}
    loaded.tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no') }}{% endif %}"
        "[{{ m.content }}]{% endfor %}"
    )
    assert chat_text(loaded.tokenizer, [{"role": "system", "content": "Be short."}, question]) == "[why?]"


def test_what_our_model_for_the_harness_cannot_do_it_says(loaded: Loaded) -> None:
    from lm_eval.api.instance import Instance

    from layerlimits.lm_eval_bridge import EngineLM

    engine = ScriptedEngine(lambda _: Response("", (), "stop"))
    model = EngineLM(engine, loaded.tokenizer, positions=8)
    with pytest.raises(UserError, match=r"an item has \d\d tokens, but the model has only 8 positions"):
        model.loglikelihood([Instance("loglikelihood", {}, ("a long context", " goes on"), 0)], disable_tqdm=True)
    assert engine.generated == 0
    for ask in (model.generate_until, model.loglikelihood_rolling):
        with pytest.raises(UserError):
            ask([])


def test_the_harness_is_imported_only_when_it_is_asked() -> None:
    code = "import sys\n" + "\n".join(f"import layerlimits.tasks.{name}" for name in TASKS)
    code += "\nassert not {'lm_eval', 'torch', 'transformers', 'datasets'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
