"""The model card of a saved checkpoint: README.md with metadata for the Hub, from its recipe."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from layerlimits.errors import printable
from layerlimits.types import Estimate

CARD = "README.md"
_LICENSES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE", "COPYING")
_HUB_ID = re.compile(r"[\w.-]{1,96}/[\w.-]{1,96}")
_IDENTIFIER = re.compile(r"[\w.+-]{1,100}")
# A cached download: models--OWNER--NAME/snapshots/REVISION.
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)")
_TAGS = ["layerlimits", "pruned", "layer-pruning"]
# Larger cards are not read.
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class CardScore:
    """A score to state in a card; `base` is the unpruned model's on the same items."""

    task: str
    metric: str
    score: Estimate
    base: Estimate | None = None


@dataclass(frozen=True)
class License:
    """What the base model says about its licence: its identifier on the Hub, and the file with its text."""

    identifier: str | None
    file: str | None


def license_of(folder: Path) -> License:
    """The licence of the model in a folder: of its card's metadata, or the file beside it."""
    file = next((name for name in _LICENSES if (folder / name).is_file()), None)
    identifier = _metadata(folder / CARD).get("license")
    named = isinstance(identifier, str) and _IDENTIFIER.fullmatch(identifier) and not (identifier == "other" and file)
    return License(identifier if named else None, file)


def _metadata(card: Path) -> Mapping[str, Any]:
    """The metadata of a card from outside; empty if it has none that can be read."""
    from huggingface_hub import metadata_load

    try:
        values = metadata_load(card) if card.stat().st_size <= _MOST_BYTES else None
    # The file is from outside, and what reads it raises errors of many kinds.
    except Exception:
        return {}
    return values if isinstance(values, dict) else {}


def hub_id(base: str) -> str | None:
    """The id on the Hub of a model given as an id, or as a folder of the Hub's cache; None for other folders."""
    if cached := _CACHED.search(base):
        return f"{cached[1]}/{cached[2]}"
    return base if _HUB_ID.fullmatch(base) and not Path(base).exists() else None


def model_card(name: str, recipe: Mapping[str, Any], base_license: License, scores: Sequence[CardScore] = ()) -> str:
    """The text of a card, with metadata that huggingface_hub reads.

    Args:
        name: Name of the checkpoint.
        recipe: Its recipe; see `save.recipe`.
        base_license: The licence of the base model.
        scores: Scores of the checkpoint, if they are known.
    """
    parts = [f"# {_text(name)}", _made(recipe)]
    if recipe.get("finetune"):
        parts.append(_finetuned(recipe["finetune"]))
    parts += ["## Scores", _scores(scores), "## Command", _command(recipe), "## Licence", _license(base_license)]
    return f"---\n{_yaml(name, recipe, base_license, scores)}\n---\n\n" + "\n\n".join(parts) + "\n"


def _yaml(name: str, recipe: Mapping[str, Any], base: License, scores: Sequence[CardScore]) -> str:
    # Imported lazily: it takes a third of a second.
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=printable(score.task),
            dataset_name=printable(score.task),
            metric_type=printable(score.metric),
            metric_value=round(score.score.estimate, 4),
            metric_name=f"{printable(score.metric)} (95% interval {score.score.low:.3f} to {score.score.high:.3f}, "
            f"n = {score.score.n})",
        )
        for score in scores
    ]
    data = ModelCardData(
        base_model=hub_id(str(recipe.get("base", ""))),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=_TAGS + (["finetuned"] if recipe.get("finetune") else []),
        license=base.identifier or ("other" if base.file else None),
        license_link=base.file if base.file and not base.identifier else None,
        license_name="license-of-the-base-model" if base.file and not base.identifier else None,
        model_name=printable(name),
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _text(text: object) -> str:
    """A text from outside in Markdown: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>#|!])", r"\\\1", printable(str(text)))


def _made(recipe: Mapping[str, Any]) -> str:
    removed = list(recipe.get("removed", ()))
    layers = recipe.get("base_layers")
    of = f" of {layers}" if layers else ""
    method = recipe.get("method", "listed")
    chosen = "as listed" if method == "listed" else f"chosen by {_text(method)}"
    filled = recipe.get("replacement", "none")
    noun = "layer" if len(removed) == 1 else "layers"
    return (
        f"{len(removed)}{of} {noun} of {_text(recipe.get('base', 'the base model'))} removed by layerlimits "
        f"({_text(recipe.get('made_by', 'layerlimits'))}): {noun} {', '.join(map(str, removed))}, {chosen}, numbered "
        f"from 0 as in the base model. Replacement for the removed layers: {_text(filled)}. "
        "The checkpoint loads in unmodified transformers; `layerlimits.json` has the full recipe."
    )


def _finetuned(finetune: Mapping[str, Any]) -> str:
    settings = finetune.get("settings", {})
    return (
        f"Finetuned after pruning: {_text(settings.get('kind', 'full'))}, objective "
        f"{_text(settings.get('objective', 'self'))}, {finetune.get('examples', 0):,} examples, "
        f"{finetune.get('trained_tokens', 0):,} trained tokens."
    )


def _scores(scores: Sequence[CardScore]) -> str:
    if not scores:
        return (
            "Not measured by the command that wrote this checkpoint. `layerlimits compare BASE THIS` measures both "
            "models on the same items."
        )
    rows = [
        f"| {_text(row.task)} | {_text(row.metric)} | {_interval(row.score)} | {_interval(row.base)} | {row.score.n} |"
        for row in scores
    ]
    head = "| task | metric | this model (95% interval) | unpruned (95% interval) | n |\n|---|---|---|---|---|"
    return "\n".join([head, *rows])


def _interval(score: Estimate | None) -> str:
    return f"{score.estimate:.3f} ({score.low:.3f} to {score.high:.3f})" if score else ""


def _command(recipe: Mapping[str, Any]) -> str:
    # An indented block, which no text can close.
    return f"    {printable(str(recipe.get('command') or 'written from Python; layerlimits.json has the settings'))}"


def _license(base: License) -> str:
    if base.identifier:
        return f"That of the base model: {_text(base.identifier)}."
    if base.file:
        return f"That of the base model, in the file `{base.file}`."
    return (
        "The base model states no licence beside its weights. Whether this checkpoint may be used or published depends "
        "on the base model's terms."
    )
