"""The model card of every saved checkpoint: huggingface_hub reads it, and it says what is known."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results
from stored_runs import finished_study

from layerlimits.api import open_run
from layerlimits.models.card import CardScore, License, hub_id, license_of, model_card
from layerlimits.models.save import RECIPE
from layerlimits.report.cards import write_cards
from layerlimits.types import Estimate

Says = Callable[..., Any]
RECIPE_OF = {
    "made_by": "layerlimits 0",
    "base": "owner/model",
    "base_layers": 8,
    "removed": [2, 5],
    "method": "task_score",
    "replacement": "none",
    "command": "layerlimits prune owner/model --method task_score --layers 2 --out P",
}
NONE = License(None, None)
SPACED = "---\nlicense: 'a b'\n---"


def card(text: str) -> Any:
    """The metadata, after huggingface_hub has read it and written it again."""
    read = ModelCard(text)
    again = ModelCard(str(read))
    assert again.data.to_dict() == read.data.to_dict()
    return read.data


def test_a_pruned_checkpoint_has_a_card(says: Says, tiny: Path, tmp_path: Path) -> None:
    says("prune", tiny, "--remove", "1,3", "--out", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    data = card(text)
    # The base has a licence file and no identifier.
    assert (data.license, data.license_link) == ("other", "LICENSE")
    assert data.base_model is None
    assert {"layerlimits", "pruned"} <= set(data.tags)
    assert data.library_name == "transformers"
    assert "2 of 6 layers" in text
    assert "layers 1, 3, as listed" in text
    assert f"    layerlimits prune {tiny} --remove 1,3 --out {tmp_path / 'out'}" in text
    assert "Not measured by the command" in text


def test_the_card_of_the_base_is_replaced_and_its_licence_kept(says: Says, tiny: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    (base / "README.md").write_text("---\nlicense: apache-2.0\ntags: [mine]\n---\n# The base\n")
    says("prune", base, "--remove", "1", "--out", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert card(text).license == "apache-2.0"
    assert "mine" not in card(text).tags
    assert "# The base" not in text
    # A checkpoint pruned again has it as well.
    says("prune", tmp_path / "out", "--remove", "1", "--out", tmp_path / "again")
    assert card((tmp_path / "again" / "README.md").read_text()).license == "apache-2.0"


def test_a_base_without_a_licence_is_said_to_have_none(says: Says, tiny: Path, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny, tmp_path / "base"))
    (base / "LICENSE").unlink()
    says("prune", base, "--remove", "1", "--out", tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert card(text).license is None
    assert "The base model states no licence beside its weights." in text


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no metadata",
        "---\nlicense: [a, b]\n---\n",
        "---\n: : :\n---\n",
        "---\n- a\n---\n",
        "---\nlicense: 3\n---",
        "---\nlicense: 'a b'\n---",
    ],
)
def test_a_card_of_the_base_that_says_nothing_usable_is_no_licence(content: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(content)
    assert license_of(tmp_path) == NONE
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n")
    license_of(tmp_path)


def test_ids_on_the_hub_are_the_base_model_and_folders_are_not(tmp_path: Path) -> None:
    assert hub_id("owner/model") == "owner/model"
    assert hub_id("/home/me/.cache/huggingface/hub/models--owner--a-model/snapshots/abc") == "owner/a-model"
    assert hub_id("reference") is None
    assert hub_id(str(tmp_path)) is None
    assert card(model_card("P", RECIPE_OF, NONE)).base_model == "owner/model"


def test_scores_are_metrics_with_intervals() -> None:
    scores = [
        CardScore("gsm8k", "accuracy", Estimate(0.5, 0.4, 0.6, 100), Estimate(0.6, 0.5, 0.7, 100)),
        CardScore("xsum", "rouge", Estimate(0.21, 0.2, 0.22, 50)),
    ]
    text = model_card("P", RECIPE_OF, License("mit", None), scores)
    data = card(text)
    (index,) = data.to_dict()["model-index"]
    name, results = model_index_to_eval_results([index])
    assert name == "P"
    assert [(row.dataset_name, row.metric_type, row.metric_value) for row in results] == [
        ("gsm8k", "accuracy", 0.5),
        ("xsum", "rouge", 0.21),
    ]
    assert "interval 0.400 to 0.600, n = 100" in results[0].metric_name
    assert "| gsm8k | accuracy | 0.500 (0.400 to 0.600) | 0.600 (0.500 to 0.700) | 100 |" in text


def test_texts_from_outside_change_neither_metadata_nor_markup() -> None:
    evil = 'x"\n---\nlicense: mit\n---\n# title <script>`a` [b](c)'
    recipe = {**RECIPE_OF, "base": evil, "method": evil, "command": evil, "made_by": evil, "replacement": evil}
    text = model_card(evil, recipe, NONE, [CardScore(evil, evil, Estimate(0.5, 0.4, 0.6, 9))])
    data = card(text)
    assert data.license is None
    assert data.base_model is None
    body = ModelCard(text).text
    assert [line for line in body.splitlines() if line.startswith("# ")] == [body.splitlines()[1]]
    prose, command = body.split("## Command")
    assert "<script>" not in prose
    assert "[b]" not in prose
    # The command is an indented block of one line.
    assert [line for line in command.splitlines() if "<script>" in line] == [command.splitlines()[2]]
    assert command.splitlines()[2].startswith("    ")


def test_a_study_writes_the_scores_into_the_cards_of_its_finetuned_models(tmp_path: Path) -> None:
    finished_study(tmp_path)
    folder = tmp_path / "models" / "random-1-full"
    folder.mkdir(parents=True)
    recipe = {**RECIPE_OF, "removed": [1], "finetune": {"key": "k", "settings": {"kind": "full"}, "examples": 30}}
    (folder / RECIPE).write_text(json.dumps(recipe))
    (folder / "README.md").write_text(model_card("random-1-full", recipe, License("mit", None)))
    results = open_run(tmp_path)
    write_cards(results, tmp_path / "models")
    text = (folder / "README.md").read_text()
    data = card(text)
    assert data.license == "mit"
    assert "finetuned" in data.tags
    scores = {row.task: row.recovered for row in results.recovery[0].tasks}
    written = {result.dataset_name: result.metric_value for result in data.eval_results}
    assert written == {task: round(score.estimate, 4) for task, score in scores.items()}
