"""Whether a pruned model and an unpruned one belong together, checked before weights are loaded."""

from pathlib import Path
from typing import Any

from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.errors import UserError
from layerlimits.evaluation.prompts import check_chat
from layerlimits.models.checkpoint import configuration
from layerlimits.models.load import read_tokenizer
from layerlimits.models.locate import check_complete, fingerprint, layer_count, locate
from layerlimits.models.save import read_recipe
from layerlimits.version import __version__

# Fields of the configuration that removing layers does not change.
_SHAPES = ("model_type", "hidden_size", "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim")


def check_pair(
    pruned: str, parent: str, revision: str | None = None, chat: bool | None = None, template: ChatOptions = PLAIN
) -> dict[str, Any]:
    """Check that `pruned` is `parent` with layers removed, and that both support the chat settings.

    Weights are not loaded.

    Returns:
        The start of the recovered model's recipe: the recipe of the pruned model, with the fingerprint of the parent.
    Raises:
        UserError: Either is not a usable model, the layer counts do not match, the recipe of the pruned model names
            another base model, the tokenizers or the shapes of the weights differ; or see `check_chat`.
    """
    small, large = locate(pruned), locate(parent, revision)
    check_complete(small)
    check_complete(large)
    pruned_depth, depth = layer_count(small), layer_count(large)
    if pruned_depth >= depth:
        raise UserError(
            f"{pruned} has {pruned_depth} layers and its parent {parent} has {depth}, so no layer was removed",
            "pass the pruned model first, and the unpruned model as parent (--parent)",
        )
    recipe = read_recipe(small) or {}
    base = fingerprint(large)
    if recipe.get("base_fingerprint", base) != base:
        raise UserError(
            f"{pruned} was pruned from {recipe.get('base', 'another model')} "
            f"({recipe['base_fingerprint'][:12]}), not from {parent} ({base[:12]})",
            "set the parent (--parent) to the unchanged model that it was pruned from",
        )
    _check_tokenizers(pruned, small, parent, large)
    _check_shapes(pruned, small, parent, large)
    check_chat(read_tokenizer(large), chat, parent, template)
    ours = {"made_by": f"layerlimits {__version__}", "parent": parent, "pruned": pruned}
    return {"base": parent, "base_fingerprint": base, "base_layers": depth, **recipe, **ours}


def _check_shapes(pruned: str, small: Path, parent: str, large: Path) -> None:
    first, second = configuration(small).get_text_config(), configuration(large).get_text_config()
    for field in _SHAPES:
        ours, theirs = getattr(first, field, None), getattr(second, field, None)
        if ours != theirs:
            raise UserError(
                f"{pruned} was not pruned from {parent}: their {field} is {ours} and {theirs}",
                "set the parent (--parent) to the model that was pruned",
            )


def _check_tokenizers(pruned: str, small: Path, parent: str, large: Path) -> None:
    first, second = read_tokenizer(small), read_tokenizer(large)
    ours, theirs = first.get_vocab(), second.get_vocab()
    fix = "set the parent (--parent) to the model that was pruned; both must use the same tokenizer"
    if ours != theirs:
        shared = len(ours.items() & theirs.items())
        raise UserError(
            f"the tokenizers differ: {pruned} has {len(ours)} tokens, {parent} has {len(theirs)}; {shared} are shared",
            fix,
        )
    if first.chat_template != second.chat_template:
        raise UserError(f"the tokenizers differ: {pruned} and {parent} have different chat templates", fix)
