"""The bundled model: a standard checkpoint that reaches the scores of its model card."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from layerlimits.cli import main
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.store import Store
from layerlimits.models.load import load
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.reference import folder, train
from layerlimits.reference.mixture import Mixture
from layerlimits.reference.tokenizer import build
from layerlimits.reference.train import Trainer, accuracy, cut, grow, new_model, read_recipe, without
from layerlimits.tasks import choose

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "tie_word_embeddings": True}

_STOCK = """
import json, sys
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = sys.argv[1]
model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
chat = [{"role": "user", "content": "Close the brackets: ([{"}]
ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
out = model.generate(**ids)[0, ids["input_ids"].shape[1]:]
assert not any(name.startswith("layerlimits") for name in sys.modules)
print(json.dumps({"answer": tokenizer.decode(out, skip_special_tokens=True), "kind": type(model).__name__}))
"""


def test_stock_transformers_loads_it_and_it_answers() -> None:
    command = [sys.executable, "-c", _STOCK, str(folder())]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    output = json.loads(ran.stdout.splitlines()[-1])
    assert output["kind"] == "LlamaForCausalLM"
    assert output["answer"] == "}])"


def test_the_folder_is_complete_and_small() -> None:
    names = {path.name for path in folder().iterdir()}
    wanted = (
        "config.json generation_config.json model.safetensors tokenizer.json tokenizer_config.json README.md LICENSE"
    )
    assert set(wanted.split()) <= names
    assert sum(path.stat().st_size for path in folder().iterdir()) <= 20e6
    config = json.loads((folder() / "config.json").read_text())
    assert config["num_hidden_layers"] >= 12
    assert config["max_position_embeddings"] >= 1024


def test_the_tokenizer_writes_characters_and_bytes_and_reads_them_back() -> None:
    tokenizer = load("reference", device="cpu").tokenizer
    for text in ("What is 3 + 4?\n#### 7", "naïve 東京 🙂", " two  spaces", "def f(x): return [x]{y}"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text
    assert len(tokenizer("abc 1", add_special_tokens=False)["input_ids"]) == 5


def test_it_can_do_its_tasks(tmp_path: Path) -> None:
    """Thresholds well below the scores of the model card, on few items: a broken model or tokenizer cannot pass."""
    floors = {
        "facts": 0.9,
        "facts_choice": 0.9,
        "brackets": 0.9,
        "functions": 0.9,
        "word_problems": 0.8,
        "summaries": 0.8,
    }
    floors |= {"arithmetic": 0.7, "inference_choice": 0.3}
    with Store(tmp_path) as store:
        evaluator = Evaluator(load("reference", device="cpu"), store)
        for task in choose(["reference"]):
            (verdicts,) = evaluator.verdicts([()], task, task.samples("evaluate", 40, None))
            assert sum(verdict.value for verdict in verdicts) / 40 >= floors[task.name], task.name


def test_path_prints_the_folder(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["layerlimits", "reference", "path"])
    with pytest.raises(SystemExit):
        main()
    assert capsys.readouterr().out.strip() == str(folder())


def test_rows_hold_whole_problems_and_learn_only_answers() -> None:
    mixture, tokenizer = Mixture(1, build()), build()
    shares = read_recipe()["mix"]
    rows = mixture.rows(3, 8, 256, shares)
    assert torch.equal(rows.ids, mixture.rows(3, 8, 256, shares).ids)
    assert not torch.equal(rows.ids, mixture.rows(4, 8, 256, shares).ids)
    labeled = rows.labels >= 0
    assert torch.equal(rows.labels[labeled], rows.ids[labeled])
    for ids, labels in zip(rows.ids, rows.labels, strict=True):
        text = tokenizer.decode(ids[ids != tokenizer.pad_token_id])
        assert text.count("<|bos|>") == text.count("<|end|>") == text.count("<|assistant|>") > 0
        learned = tokenizer.decode(labels[labels >= 0])
        assert learned.count("<|end|>") == text.count("<|end|>")
        assert "<|user|>" not in learned


def test_growing_changes_no_logit_and_doubles_the_depth() -> None:
    torch.manual_seed(0)
    model = new_model(SHAPE, 4, build()).eval()
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        before = model(ids).logits
        grow(model, 8)
        assert len(find_stack(model)) == 8
        assert torch.allclose(model(ids).logits, before, atol=1e-6)
    with torch.no_grad(), without(model, 0):
        assert not torch.allclose(model(ids, use_cache=False).logits, before, atol=1e-3)


def test_cutting_is_what_removing_layers_is_everywhere_else() -> None:
    torch.manual_seed(0)
    model = new_model(SHAPE, 5, build()).eval()
    ids = torch.arange(5, 40)[None]
    with torch.no_grad():
        with without_layers(model, (1, 3)):
            wanted = model(ids).logits
        cut(model, (1, 3))
        assert torch.equal(model(ids).logits, wanted)
        # With the cache, so that its layer numbers are right too.
        assert torch.equal(model(ids, use_cache=True).logits, wanted)
    assert model.config.num_hidden_layers == len(find_stack(model)) == 3


def test_accuracy_counts_whole_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = Mixture(1, build())
    rows = mixture.held_out("facts", 8, 64)
    torch.manual_seed(0)
    model = new_model(SHAPE, 2, build())
    assert accuracy(model, rows) == 0.0
    # Of answers that are right but for one token each, none is right; of the others, all are.
    logits, labels, row = train._answers(model, rows)
    right = torch.nn.functional.one_hot(labels, logits.shape[-1]).float()
    monkeypatch.setattr(train, "_answers", lambda *_: (right, labels, row))
    assert accuracy(model, rows) == 1.0
    last = [int((row == number).nonzero()[-1]) for number in (0, 3)]
    right[last] = 0
    right[last, (labels[last] + 1) % right.shape[1]] = 1
    assert accuracy(model, rows) == (len(rows.ids) - 2) / len(rows.ids)


def _recipe() -> dict[str, object]:
    phases = [
        {"layers": 2, "steps": 4, "rows": 2, "lr": [0.0, 3e-3], "skip": 0.5},
        {"layers": 3, "steps": 4, "rows": 2, "lr": [3e-3, 3e-3], "skip": 0.5, "mix": {"facts": 1.0}},
        {"layers": 2, "steps": 2, "rows": 2, "lr": [3e-3, 0.0], "skip": 0.5, "remove": [1]},
    ]
    return {"seed": 1, "row_tokens": 64, "model": SHAPE, "mix": {"brackets": 1.0}, "phase": phases}


@pytest.mark.parametrize("stop", [3, 4, 6, 8, 9])
def test_a_killed_training_resumes_to_the_same_weights(
    stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Uncompiled layers compute the same, and compiling would take longer than the training.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *_, **__: None)

    def finish(trainer: Trainer, until: int = 10) -> Trainer:
        while (place := trainer.position()) and trainer.step < until:
            trainer.advance(*place)
        return trainer

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = finish(Trainer(_recipe(), tmp_path / "a"))
    finish(Trainer(_recipe(), tmp_path / "b"), stop).save()
    resumed = finish(Trainer(_recipe(), tmp_path / "b"))
    assert resumed.step == whole.step == 10
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, resumed.model.state_dict()[name]), name


def test_the_recipe_reads_only_tasks_it_knows() -> None:
    recipe = read_recipe()
    mixture, rng = Mixture(recipe["seed"], build()), random.Random(0)
    for mix in (recipe["mix"], *(phase["mix"] for phase in recipe["phase"] if "mix" in phase)):
        assert sum(mix.values()) == pytest.approx(1.0)
        assert all(mixture.problem(rng, name).answer for name in mix)
    assert recipe["phase"][-1]["layers"] == json.loads((folder() / "config.json").read_text())["num_hidden_layers"]
    assert Path(folder()).name == "model"
