"""Locate and check the files of a model before weights are loaded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.hub import hub_error, is_path, offline_if_unreachable
from layerlimits.models.checkpoint import SINGLE, configuration, text_headers, weight_files
from layerlimits.models.config_check import check_counts, check_depth, read_config
from layerlimits.models.gguf_file import is_gguf, widened
from layerlimits.models.index import INDEX, check_metadata, read_index
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.weights_check import check_layer_numbers, check_types, check_weights
from layerlimits.paths import file_hash, given_path
from layerlimits.types import content_hash

REFERENCE = "reference"
# What a model repository has at its top beside weights: configuration, tokenizer, templates, licences and policies.
_SMALL_FILES = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.md", "*[Ll][Ii][Cc][Ee][Nn][Ss]*", "COPYING*"]
_SMALL_FILES += ["[Nn][Oo][Tt][Ii][Cc][Ee]*"]
# Adapters, which transformers would apply to the weights, and folders: other formats, checkpoints of the training.
_NOT_THE_MODEL = ["*/*", "adapter_*", "README.md"]
_TEMPLATES = "additional_chat_templates/*.jinja"
# Files that change answers, beside weights, *.model and *.tiktoken.
_HASHED = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "merges.txt",
    "vocab.bpe",
    "vocab.json",
    "vocab.txt",
}


def locate(model: str, revision: str | None = None) -> Path:
    """The folder of a local model, of the bundled model ("reference"), of the downloaded files of a hub id, or of the
    widened weights of a .gguf file.

    Of a hub id, the configuration is downloaded and checked before the weights, and only files that are loaded.

    Raises:
        UserError: the folder does not exist, or the hub does not have the model, requires a login or cannot be
            reached; or see `models.gguf_file.widened`.
    """
    if model == REFERENCE:
        from layerlimits.reference import folder

        return folder()
    if not model.strip():
        raise UserError("the model is an empty text", "use a folder, or a hub id such as owner/name")
    path = given_path(model, "the model", home=True)
    if path.is_dir():
        return path.resolve()
    if is_gguf(path):
        if not path.exists():
            raise UserError(f"no such file: {model}", "check the path")
        return widened(path.resolve())
    if path.exists():
        raise UserError(
            f"{model} is a file, not a model folder", "use the folder that contains config.json, or a .gguf file"
        )
    if is_path(model):
        raise UserError(f"no such folder: {model}", "check the path, or use a hub id such as owner/name")
    return _download(model, revision)


def _download(model: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    with offline_if_unreachable() as unreachable:
        try:
            folder = Path(
                snapshot_download(model, revision=revision, allow_patterns=_SMALL_FILES, ignore_patterns=_NOT_THE_MODEL)
            )
            # What cannot be used is refused before gigabytes are downloaded.
            read_config(folder)
            wanted = [*_weight_names(folder), _TEMPLATES]
            return Path(snapshot_download(model, revision=revision, allow_patterns=wanted))
        except UserError:
            raise
        except HFValidationError:
            raise UserError(
                f"there is no folder {model}, and it is not a hub id", "use a folder, or a hub id such as owner/name"
            ) from None
        # Refusals, missing files and revisions, and failures of the network and the disk have no common class.
        except Exception as error:
            refusal = hub_error("model", model, error, unreachable, "use a local folder")
            raise UserError(f"there is no folder {model}, and {refusal.problem}", refusal.fix) from None


def _weight_names(folder: Path) -> list[str]:
    """The weight files that transformers would load, in a folder that does not contain them yet."""
    if not (folder / INDEX).exists():
        return [SINGLE]
    return sorted(set(read_index(folder)["weight_map"].values()))


def check(folder: Path) -> dict[str, Any]:
    """Run all checks that need no weights, and return the model's configuration.

    Raises:
        UserError: not a model folder, an unsupported kind of model, quantized weights, pickled, truncated or damaged
            weight files, or a layer without weights.
    """
    config = read_config(folder)
    # Counts come first, since configurations create lists with one entry per layer.
    tensors = sum(len(header.tensors) for header in read_headers(weight_files(folder)))
    inner = config.get("text_config")
    for fields in (config, inner if isinstance(inner, dict) else {}):
        check_counts(folder, fields, tensors)
    headers = text_headers(folder)
    check_types(folder, headers)
    if "num_hidden_layers" in config:
        check_layer_numbers(folder, headers, config["num_hidden_layers"])
    depth = getattr(configuration(folder), "num_hidden_layers", None)
    if depth is not None:
        check_layer_numbers(folder, headers, check_depth(folder, depth))
    return config


def check_complete(folder: Path) -> dict[str, Any]:
    """Run `check`, and check that the weight files have exactly the tensors of the model. Takes about as long as
    building the model without its weights.

    Raises:
        UserError: see `check`, `models.index.check_metadata` and `models.weights_check.check_weights`.
    """
    config = check(folder)
    if not (folder / SINGLE).exists():
        check_metadata(folder)
    check_weights(folder, text_headers(folder))
    return config


def layer_count(folder: Path) -> int:
    """The number of layers in the configuration of a checked folder.

    Raises:
        UserError: the configuration has no number of layers.
    """
    config = configuration(folder)
    count = getattr(config, "num_hidden_layers", None)
    if not isinstance(count, int):
        raise UserError(
            f"{folder.name} ({config.model_type}) has no recognizable layer stack: its configuration has no "
            "num_hidden_layers",
            "use an architecture with a single list of layers, or report this one",
        )
    return count


def positions(folder: Path) -> int | None:
    """The number of positions of a model, which no text may exceed; None if its configuration sets no limit.

    Raises:
        UserError: see `configuration`.
    """
    count = getattr(configuration(folder).get_text_config(), "max_position_embeddings", None)
    return count if isinstance(count, int) and count > 0 else None


def fingerprint(folder: Path) -> str:
    """Hash of all files that change answers: weights, configuration, tokenizer and templates."""
    files = {file for file in folder.iterdir() if file.name in _HASHED or file.suffix in (".model", ".tiktoken")}
    hashed = sorted(files | set(weight_files(folder)))
    # Hashing releases the GIL, so threads read files in parallel.
    with ThreadPoolExecutor() as threads:
        digests = threads.map(file_hash, hashed)
        return content_hash({file.name: digest for file, digest in zip(hashed, digests, strict=True)}, 32)
