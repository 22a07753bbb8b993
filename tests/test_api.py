"""The Python API: models, tasks and options as arguments, and the same behavior as the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from stored_runs import finished_study

import layerlimits as ll

Says = Callable[..., Any]
QUICK = ll.EvalOptions(limit=4)
# The columns of a sweep, which the README promises.
COLUMNS = ["layer", "task", "score", "low", "high", "n", "retention"]


@pytest.fixture
def model(tiny: Path) -> ll.Model:
    """The random Llama of 6 layers in memory."""
    return ll.load(tiny, device="cpu")


def test_a_handle_says_what_it_is(model: ll.Model, tiny: Path) -> None:
    assert (model.name, model.layers) == (str(tiny), 6)
    assert model.options == ll.ModelOptions(str(tiny), None, "float32", "cpu")
    assert len(model.network.model.layers) == 6
    assert f"{tiny}', layers=6" in repr(model)


def test_a_model_can_be_given_in_every_form(model: ll.Model, tiny: Path) -> None:
    forms: list[Any] = [model, tiny, str(tiny), ll.ModelOptions(str(tiny), device="cpu")]
    results = [ll.evaluate(form, ["facts_choice", "brackets"], QUICK) for form in forms]
    assert all(result == results[0] for result in results)
    assert [score.score.n for score in results[0].scores] == [4, 4]


def test_tasks_can_be_given_in_every_form(model: ll.Model) -> None:
    forms: list[Any] = ["facts_choice", ["facts_choice"], ll.get_tasks("facts_choice"), ll.get_tasks("facts_choice")[0]]
    results = [ll.evaluate(model, form, QUICK) for form in forms]
    assert all(result == results[0] for result in results)


def test_a_task_listed_twice_is_asked_once(model: ll.Model) -> None:
    tasks: list[Any] = ["facts", *ll.get_tasks("brackets", "facts"), "facts"]
    assert [score.name for score in ll.evaluate(model, tasks, ll.EvalOptions(limit=1)).scores] == ["facts", "brackets"]


def test_the_sweep_of_the_bundled_model_is_a_row_per_layer_and_task() -> None:
    options = ll.EvalOptions(limit=20)
    frame = ll.sweep(ll.load("reference"), ll.get_tasks("arithmetic", "facts"), options=options).to_frame()
    assert list(frame.columns) == COLUMNS
    pairs = [(layer, task) for layer in range(12) for task in ("arithmetic", "facts")]
    assert list(zip(frame.layer, frame.task, strict=True)) == pairs
    assert set(frame.n) == {20}
    assert ((frame.low <= frame.score) & (frame.score <= frame.high)).all()
    # Without its first layer the model answers nothing, and without most others almost everything.
    assert frame[frame.layer == 0].retention.max() < 0.5 < frame.retention.median()


def test_the_command_line_prints_what_the_functions_return(says: Says, tiny: Path, tmp_path: Path) -> None:
    tasks = ll.get_tasks("facts_choice", "arithmetic", protocols=("likelihood",), shots=1)
    options = ("--tasks", "facts_choice,arithmetic", "--limit", 4, "--protocol", "likelihood", "--shots", 1)
    assert says("sweep", tiny, *options) == ll.sweep(tiny, tasks, QUICK).to_json()
    assert says("evaluate", tiny, *options) == ll.evaluate(tiny, tasks, QUICK).to_json()
    ranked = ll.rank(tiny, "block_influence", ll.RankOptions(layers=2, items=8))
    assert says("rank", tiny, "--method", "block_influence", "--layers", 2, "--items", 8) == ranked.to_json()
    compared = ll.compare_methods(tiny, ["reverse", "random"], ll.RankOptions(layers=2, items=8, seed=3))
    options = ("--method", "reverse,random", "--layers", 2, "--items", 8, "--seed", 3)
    assert says("rank", tiny, *options) == compared.to_json()
    pruned = ll.prune(tiny, tmp_path / "a", ll.PruneOptions(method="random", ratio=0.3)).to_json()
    said = says("prune", tiny, "--method", "random", "--ratio", 0.3, "--out", tmp_path / "b")
    assert {**said, "model": pruned["model"]} == pruned


def test_answers_in_a_run_folder_are_asked_once(
    model: ll.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = ll.sweep(model, "facts_choice", QUICK, tmp_path / "run")
    monkeypatch.setattr(type(model.network), "forward", None)
    with pytest.raises(TypeError):
        ll.sweep(model, "facts_choice", QUICK)
    assert ll.sweep(model, "facts_choice", QUICK, str(tmp_path / "run")) == first


def test_layers_are_left_out_inside_the_block_only(model: ll.Model) -> None:
    tokens = torch.tensor([[1, 2, 3]])
    before = model.network(tokens).logits
    with ll.without_layers(model, [4, 3]) as network:
        assert network is model.network
        assert len(network.model.layers) == network.config.num_hidden_layers == 4
        assert network.generate(tokens, max_new_tokens=3, do_sample=False).shape[1] <= 6
        assert not torch.equal(network(tokens).logits, before)
    assert torch.equal(model.network(tokens).logits, before)
    with ll.without_layers(model, []) as network:
        assert torch.equal(network(tokens).logits, before)


def test_a_name_is_loaded_for_the_block(tiny: Path) -> None:
    with ll.without_layers(tiny, [0]) as network:
        assert len(network.model.layers) == 5


def test_filling_the_gap_leaves_the_callers_model_as_it_is(model: ll.Model, tiny: Path, tmp_path: Path) -> None:
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    options = ll.PruneOptions(remove=(2, 3), replacement="linear")
    given = ll.prune(model, tmp_path / "given", options, ll.RankOptions(items=4))
    after = model.network.state_dict()
    assert model.network.config.num_hidden_layers == len(model.network.model.layers) == 6
    assert set(after) == set(before)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    named = ll.prune(tiny, tmp_path / "named", options, ll.RankOptions(items=4))
    assert given.removed == named.removed
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("given", "named")]
    assert weights[0] == weights[1]


def test_methods_rank_a_model_in_memory(model: ll.Model, tiny: Path) -> None:
    options = ll.RankOptions(layers=2, items=4)
    assert ll.rank(model, "magnitude:p=2", options) == ll.rank(tiny, "magnitude:p=2", options)


def test_calibration_texts_are_the_same_with_and_without_weights(model: ll.Model, tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_text("two and two\n\nthree and three\n\nfour")
    texts = ll.calibration(model, 2, file)
    assert texts.written == ("two and two", "three and three")
    assert texts == ll.calibration(tiny, 2, str(file))
    assert max(map(len, ll.calibration(tiny, 4, max_tokens=5).ids)) == 5


def test_the_chat_setting_belongs_to_the_task(model: ll.Model) -> None:
    model.tokenizer.chat_template = "{{ messages[0]['content'] }}"
    templates = [
        ll.evaluate(model, ll.get_tasks("brackets", chat=chat), QUICK).scores[0].template
        for chat in (None, True, False)
    ]
    assert templates[0] == templates[1] is not None
    assert templates[2] is None
    model.tokenizer.chat_template = None
    with pytest.raises(ll.UserError, match="no chat template"):
        ll.evaluate(model, ll.get_tasks("brackets", chat=True), QUICK)


def test_a_study_is_read_without_its_model(tmp_path: Path) -> None:
    finished_study(tmp_path / "run")
    results = ll.open_run(str(tmp_path / "run"))
    frame = results.to_frame()
    unpruned = frame[frame.method == "unpruned"]
    assert list(unpruned.task) == [task.name for task in results.tasks]
    assert len(frame) == len(results.tasks) + len(results.pruned)
    assert "retention" in frame.columns
