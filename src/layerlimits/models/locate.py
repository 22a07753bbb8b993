"""Locate and check the files of a model before weights are loaded."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from xxhash import xxh3_128

from layerlimits.errors import UserError
from layerlimits.foreign import refusing
from layerlimits.hub import hub_error, is_path, offline_if_unreachable
from layerlimits.models.config_check import check_counts, check_depth, read_config
from layerlimits.models.index import INDEX, check_metadata, read_index
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.weights_check import check_layer_numbers, check_types, check_weights, quiet
from layerlimits.paths import given_path
from layerlimits.types import content_hash

REFERENCE = "reference"
_SINGLE = "model.safetensors"
# What a model repository has at its top beside weights: configuration, tokenizer, templates, licences and policies.
_SMALL_FILES = ["*.json", "*.txt", "*.model", "*.tiktoken", "*.jinja", "*.md", "*[Ll][Ii][Cc][Ee][Nn][Ss]*", "COPYING*"]
_SMALL_FILES += ["[Nn][Oo][Tt][Ii][Cc][Ee]*"]
# Adapters, which transformers would apply to the weights, and folders: other formats, checkpoints of the training.
_NOT_THE_MODEL = ["*/*", "adapter_*", "README.md"]
_TEMPLATES = "additional_chat_templates/*.jinja"
_PICKLE = "a pickle that could run code"
OTHER_WEIGHTS = dict.fromkeys((".bin", ".pt", ".pth", ".ckpt", ".pkl"), _PICKLE) | dict.fromkeys(
    (".gguf", ".ggml", ".h5", ".msgpack", ".onnx"), "another format"
)
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
    """The folder of a local model, of the bundled model ("reference"), or of the downloaded files of a hub id.

    Of a hub id, the configuration is downloaded and checked before the weights, and only files that are loaded.

    Raises:
        UserError: the folder does not exist, or the hub does not have the model, requires a login or cannot be
            reached.
    """
    if model == REFERENCE:
        from layerlimits.reference import folder

        return folder()
    if not model.strip():
        raise UserError("the model is an empty text", "use a folder, or a hub id such as owner/name")
    path = given_path(model, "the model", home=True)
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise UserError(f"{model} is a file, not a model folder", "use the folder that contains config.json")
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
        return [_SINGLE]
    return sorted(set(read_index(folder)["weight_map"].values()))


def check(folder: Path) -> dict[str, Any]:
    """Run all checks that need no weights, and return the model's configuration.

    Raises:
        UserError: not a model folder, an unsupported kind of model, quantized weights, pickled, truncated or damaged
            weight files, or a layer without weights.
    """
    config = read_config(folder)
    headers = read_headers(weight_files(folder))
    check_types(folder, headers)
    # First, since later checks create lists with one entry per layer.
    check_counts(folder, config, sum(len(header.tensors) for header in headers))
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
    if not (folder / _SINGLE).exists():
        check_metadata(folder)
    check_weights(folder, read_headers(weight_files(folder)))
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


def configuration(folder: Path) -> Any:
    """The configuration of a checked folder, as transformers reads it.

    Raises:
        UserError: transformers rejects a value.
    """
    from transformers import AutoConfig

    fix = "correct the field, or download the model again"
    with quiet(), refusing(f"{folder}/config.json is invalid", fix):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads from a checkpoint, sorted by name.

    Raises:
        UserError: there are none, or a file in the index is missing.
    """
    index, single = folder / INDEX, folder / _SINGLE
    if single.exists():
        # If a folder has both, transformers ignores the shards.
        return [single]
    if index.exists():
        names = sorted(set(read_index(folder)["weight_map"].values()))
        missing = [name for name in names if not (folder / name).exists()]
        if missing:
            raise UserError(
                f"{folder} does not contain {len(missing)} of its {len(names)} weight files: {missing[0]}",
                "download the model again",
            )
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        others = sorted(file for file in folder.iterdir() if file.suffix in OTHER_WEIGHTS)
        why = f" (only {others[0].name}, {OTHER_WEIGHTS[others[0].suffix]})" if others else ""
        raise UserError(
            f"{folder} has no safetensors weights{why}", "convert it with save_pretrained in a safe environment"
        )
    return files


def fingerprint(folder: Path) -> str:
    """Hash of all files that change answers: weights, configuration, tokenizer and templates."""
    files = {file for file in folder.iterdir() if file.name in _HASHED or file.suffix in (".model", ".tiktoken")}
    hashed = sorted(files | set(weight_files(folder)))
    # Hashing releases the GIL, so threads read files in parallel.
    with ThreadPoolExecutor() as threads:
        digests = threads.map(_file_hash, hashed)
        return content_hash({file.name: digest for file, digest in zip(hashed, digests, strict=True)}, 32)


def _file_hash(file: Path) -> str:
    # Not a cryptographic hash, which would take minutes for a large model.
    total = xxh3_128()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 22):
            total.update(chunk)
    return total.hexdigest()
