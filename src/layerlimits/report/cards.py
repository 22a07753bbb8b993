"""The scores of a study in the model cards of its finetuned checkpoints."""

from collections.abc import Iterator
from pathlib import Path

from layerlimits.models.card import CARD, CardScore, license_of, model_card
from layerlimits.models.save import read_recipe
from layerlimits.results.document import StudyResults
from layerlimits.results.rows import Recovery


def write_cards(results: StudyResults, models: Path) -> None:
    """Rewrite the cards of the finetuned checkpoints in a folder, with their scores and those of the unpruned model.

    Args:
        results: The results of the study.
        models: The folder of the checkpoints, each named METHOD-LAYERS-FINETUNING; absent ones are skipped.
    """
    for entry in results.recovery:
        folder = models / f"{entry.method}-{entry.layers}-{entry.name}"
        recipe = read_recipe(folder) if folder.is_dir() else None
        if recipe is not None:
            made = recipe if recipe.get("command") else {**recipe, "command": results.command}
            # The checkpoint has the base model's licence file, and its own card the base model's identifier.
            text = model_card(folder.name, made, license_of(folder), list(_scores(results, entry)))
            (folder / CARD).write_text(text, encoding="utf-8")


def _scores(results: StudyResults, entry: Recovery) -> Iterator[CardScore]:
    metrics = {task.name: task.metric for task in results.tasks}
    for row in entry.tasks:
        yield CardScore(row.task, metrics.get(row.task, "accuracy"), row.recovered, row.base)
