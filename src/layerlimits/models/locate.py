"""Where a model's files are, and whether they are what we can work with: all checks before any weight loads."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from layerlimits.errors import UserError
from layerlimits.models.config_check import check_counts, check_depth, read_config
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.weights_check import check_layer_numbers, check_types, check_weights
from layerlimits.paths import given_path
from layerlimits.types import content_hash

REFERENCE = "reference"
_HUB_FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "LICENSE*", "NOTICE*"]
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


def locate(model: str, revision: str | None = None) -> Path:
    """The folder of a local model, of the bundled one ("reference"), or of a hub id's downloaded files.

    Raises:
        UserError: no such folder, or the hub does not have it or cannot be reached.
    """
    if model == REFERENCE:
        from layerlimits.reference import folder

        return folder()
    path = given_path(model, "the model", home=True)
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise UserError(f"{model} is a file, not a model folder", "give the folder that holds config.json")
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UserError(f"no such folder: {model}", "check the path, or give a hub id such as owner/name")
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=_HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"no folder {model} here, and no model of that id can be had from the hub: {reason}",
            "check the name and the network (HF_HUB_OFFLINE), or give a local folder",
        ) from None


def check(folder: Path) -> dict[str, Any]:
    """The model's configuration, after every check that can be made without loading weights.

    Raises:
        UserError: no model folder, a model of another kind, quantized weights, pickled, truncated or damaged weight
            files, or files that lack a layer.
    """
    config = read_config(folder)
    headers = read_headers(weight_files(folder))
    check_types(folder, headers)
    # Before anything makes lists of so many entries.
    check_counts(folder, config, sum(len(header.tensors) for header in headers))
    if "num_hidden_layers" in config:
        check_layer_numbers(folder, headers, config["num_hidden_layers"])
    depth = getattr(configuration(folder), "num_hidden_layers", None)
    if depth is not None:
        check_layer_numbers(folder, headers, check_depth(folder, depth))
    return config


def check_complete(folder: Path) -> dict[str, Any]:
    """As `check`, and that the weight files hold exactly the tensors of the model; takes about as long as building the
    model without its weights.

    Raises:
        UserError: see `check` and `models.weights_check.check_weights`.
    """
    config = check(folder)
    check_weights(folder, read_headers(weight_files(folder)))
    return config


def layer_count(folder: Path) -> int:
    """How many layers the configuration of a checked folder says the model has, whatever its file calls the field.

    Raises:
        UserError: it does not say.
    """
    config = configuration(folder)
    count = getattr(config, "num_hidden_layers", None)
    if not isinstance(count, int):
        raise UserError(
            f"{folder.name} ({config.model_type}) has no recognisable layer stack: its configuration gives no "
            "num_hidden_layers",
            "use an architecture whose layers are one list, or report this one",
        )
    return count


def configuration(folder: Path) -> Any:
    """The configuration of a checked folder, as transformers reads it.

    Raises:
        UserError: a value that transformers does not take.
    """
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # Configurations refuse what they do not take with errors of many kinds.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UserError(
            f"{folder}/config.json cannot be used: {reason}", "correct the field, or download the model again"
        ) from None


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, in name order: those that transformers loads.

    Raises:
        UserError: there are none, or the index names one that is missing.
    """
    index, single = folder / "model.safetensors.index.json", folder / "model.safetensors"
    if single.exists():
        # Where a folder holds both, transformers leaves the shards alone.
        return [single]
    if index.exists():
        try:
            names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError):
            raise UserError(f"{index} is no index of weight files", "download the model again") from None
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise UserError(
                f"{folder} lacks {len(missing)} of its {len(names)} weight files: {missing[0]}",
                "download the model again",
            )
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickled = sorted(folder.glob("*.bin")) + sorted(folder.glob("*.pt"))
        why = f" (only {pickled[0].name}, a pickle that could run code)" if pickled else ""
        raise UserError(
            f"{folder} has no safetensors weights{why}", "convert it with save_pretrained on a safe machine"
        )
    return files


def fingerprint(folder: Path) -> str:
    """A hash of all files that change an answer: weights, configuration, tokenizer and templates."""
    names = {"config.json", "generation_config.json", "tokenizer_config.json", "chat_template.jinja", "merges.txt"}
    files = {file for file in folder.iterdir() if file.name in names or file.name in _TOKENIZER_FILES}
    hashed = sorted(files | set(weight_files(folder)))
    # Hashing lets other threads run: files are read side by side.
    with ThreadPoolExecutor() as threads:
        digests = threads.map(_file_hash, hashed)
        return content_hash({file.name: digest for file, digest in zip(hashed, digests, strict=True)}, 32)


def _file_hash(file: Path) -> str:
    # Tells files apart, by accident and not by an enemy: cryptographic hashes take minutes for a large model.
    total = xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            total.update(chunk)
    return total.hexdigest()
