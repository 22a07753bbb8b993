"""Reading the index of a checkpoint in several files, which says which file has which tensor."""

from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import DOWNLOAD_AGAIN, kind, read_object

INDEX = "model.safetensors.index.json"


def read_index(folder: Path) -> dict[str, Any]:
    """Read and check the index of a model folder.

    Returns:
        "weight_map", the file name of each tensor, and "metadata", an object that may be empty.

    Raises:
        UserError: The index cannot be read, is not an index, or has an entry that is not the name of a safetensors
            file in this folder.
    """
    path = folder / INDEX
    index = read_object(path)
    weights = index.get("weight_map")
    if not isinstance(weights, dict) or not weights:
        shown = "empty" if weights == {} else kind(weights)
        raise UserError(f"{path} is not an index of weight files: weight_map is {shown}", DOWNLOAD_AGAIN)
    metadata = index.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise UserError(f"{path} is not an index of weight files: metadata is {kind(metadata)}", DOWNLOAD_AGAIN)
    for tensor, file in weights.items():
        _check_entry(path, tensor, file)
    return {**index, "metadata": metadata}


def check_metadata(folder: Path) -> None:
    """Check that an index has an object "metadata", which transformers needs to load the weights.

    Raises:
        UserError: It has none, or null.
    """
    path = folder / INDEX
    if path.exists() and read_object(path).get("metadata") is None:
        raise UserError(
            f"{path} has no metadata, without which transformers does not load the weights",
            'add "metadata": {} to the file, or download the model again',
        )


def _check_entry(path: Path, tensor: str, file: Any) -> None:
    """Check that an entry is a plain file name, so that it cannot name a file outside the folder."""
    if not isinstance(file, str):
        raise UserError(f"{path}: the file of {tensor} is {kind(file)}, not a file name", DOWNLOAD_AGAIN)
    if Path(file).name != file or "\\" in file or "\0" in file:
        raise UserError(
            f"{path}: {tensor} is in {file!r:.200}, which is outside the model folder",
            "use a checkpoint whose weight files are in its folder",
        )
    if not file.endswith(".safetensors"):
        raise UserError(
            f"{path}: {tensor} is in {file!r:.200}, which is not a safetensors file",
            "convert the model with save_pretrained in a safe environment",
        )
