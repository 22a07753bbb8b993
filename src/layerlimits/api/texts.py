"""`calibration`: the calibration text of methods and replacements."""

from pathlib import Path

from layerlimits.api.models import ModelSource, bound_tokenizer, checked_folder
from layerlimits.chat_options import PLAIN, ChatOptions
from layerlimits.evaluation import calibration as texts
from layerlimits.evaluation.calibration import Calibration
from layerlimits.models.locate import positions
from layerlimits.sampling import check_items


def calibration(
    model: ModelSource,
    items: int = 64,
    source: str | Path | None = None,
    *,
    max_tokens: int = 512,
    template: ChatOptions = PLAIN,
) -> Calibration:
    """Read calibration texts and encode them with the model's tokenizer. Weights are not loaded.

    Args:
        model: Model returned by `load`, a folder, a hub id, "reference", or `ModelOptions`.
        items: Number of texts.
        source: A `.jsonl` file with "text" (or "prompt" and "response") in each line; a plain text file with blank
            lines between items; or a dataset as "id", "id:split" or "id:configuration:split". Text of the bundled tasks
            if None.
        max_tokens: Maximum length of a text; longer texts are truncated. At most the positions of the model.
        template: System turn and arguments of the chat template, with which questions and answers are written.

    Returns:
        The token ids and a content hash of each text, and the source.

    Raises:
        UserError: The model, file or dataset cannot be read or is empty, or `items` is outside its range.

    Example:
        >>> texts = calibration("reference", 8)
        >>> len(texts.ids), texts.source
        (8, 'the bundled world')
    """
    check_items(items)
    longest = min(max_tokens, positions(checked_folder(model)) or max_tokens)
    return texts.calibration(bound_tokenizer(model, template), items, source, longest)
