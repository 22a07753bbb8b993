"""`calibration`: the texts that methods and replacements run through a model."""

from pathlib import Path

from transformers import AutoTokenizer

from layerlimits.api.models import Model, ModelSource, checked_folder
from layerlimits.evaluation import calibration as texts
from layerlimits.evaluation.calibration import Calibration
from layerlimits.sampling import check_items


def calibration(
    model: ModelSource, items: int = 64, source: str | Path | None = None, *, max_tokens: int = 512
) -> Calibration:
    """Calibration texts as the model's tokenizer encodes them. Weights are not loaded.

    Args:
        model: a model of `load`, or what names one.
        items: number of texts.
        source: a file: `.jsonl` with "text" (or "prompt" and "response") in each line, or plain text with blank lines
            between items; or a data set, as "id", "id:split" or "id:configuration:split"; the bundled world if None.
        max_tokens: longer texts are truncated.
    Returns:
        The token ids of each text (N tuples), a content hash of each, and the source.
    Raises:
        UserError: a model, file or data set that cannot be read or is empty, or a number of items outside its range.

    Example:
        >>> texts = calibration("reference", 8)
        >>> len(texts.ids), texts.source
        (8, 'the bundled world')
    """
    check_items(items)
    if isinstance(model, Model):
        tokenizer = model.tokenizer
    else:
        tokenizer = AutoTokenizer.from_pretrained(checked_folder(model), trust_remote_code=False, local_files_only=True)
    return texts.calibration(tokenizer, items, source, max_tokens)
