"""What only a GPU can show; skipped, with the reason, where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from layerlimits.engines.sweep import SweepEngine
from layerlimits.engines.transformers import TransformersEngine
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.study.speed import timings
from layerlimits.tasks import choose

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, and torch sees none"),
]


def test_the_reference_model_answers_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    scores = {}
    for device in ("cpu", "cuda"):
        with Store(tmp_path / device) as store:
            evaluator = Evaluator(load("reference", device=device, dtype="float32"), store)
            for task in choose(["facts", "facts_choice", "brackets"]):
                (verdicts,) = evaluator.verdicts([()], task, task.samples("evaluate", 40, None))
                scores[device, task.name] = sum(verdict.value for verdict in verdicts) / 40
    for name in ("facts", "facts_choice", "brackets"):
        assert scores["cuda", name] == pytest.approx(scores["cpu", name], abs=0.05)


def test_memory_on_a_gpu_is_the_measured_peak_and_falls_with_the_layers() -> None:
    model = load("reference", device="cuda", dtype="bfloat16").model
    base, pruned = timings(model, [(), (3, 4)], repeats=3)
    assert base.weight_bytes <= base.memory_bytes
    assert pruned.weight_bytes < base.weight_bytes
    assert all(rate > 0 for rate in (*base.tokens_per_s, *pruned.tokens_per_s))


@pytest.mark.parametrize("beside", [False, True])
def test_variants_answer_together_on_a_gpu_as_one_at_a_time(beside: bool) -> None:
    loaded = load("reference", device="cuda", dtype="float32")
    tasks = choose(["arithmetic", "facts"])
    prompts = [encode(loaded.tokenizer, sample).ids for task in tasks for sample in task.samples("select", 8, None)]
    together, alone = SweepEngine(loaded.model, loaded.tokenizer), TransformersEngine(loaded.model, loaded.tokenizer)
    together._bounds = replace(together._bounds, chunk=4, together=beside)
    variants = [(), (0,), (5,), (3, 7)]
    responses = together.generate(variants, prompts, 24)
    assert together.refusal is None
    for variant, answers in zip(variants, responses, strict=True):
        with without_layers(loaded.model, variant):
            stock = alone.generate_batch(prompts, 24)
        same = sum(mine.tokens == other.tokens for mine, other in zip(answers, stock, strict=True))
        # Sums in another order flip a tie now and then.
        assert same >= len(prompts) - 1
