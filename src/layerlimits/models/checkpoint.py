"""A checkpoint as this package uses it: the configuration and the tensors of its text model, and how to load it.

For most checkpoints these are simply its configuration and its tensors. Of a multimodal one, they are those of the
text model, under the names that a text-only checkpoint has.
"""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import refusing
from layerlimits.models.gguf_file import gguf_notes
from layerlimits.models.index import INDEX, read_index
from layerlimits.models.quiet import quiet
from layerlimits.models.safetensors_header import Header, read_headers
from layerlimits.models.stored_quantization import WIDENED, for_text_model, method_of, widening
from layerlimits.models.text_part import TextNames, text_config, text_names

SINGLE = "model.safetensors"
_PICKLE = "a pickle that could run code"
OTHER_WEIGHTS = dict.fromkeys((".bin", ".pt", ".pth", ".ckpt", ".pkl"), _PICKLE) | dict.fromkeys(
    (".gguf", ".ggml", ".h5", ".msgpack", ".onnx"), "another format"
)


def whole_configuration(folder: Path) -> Any:
    """The configuration of a checked folder, as transformers reads it.

    Raises:
        UserError: transformers rejects a value.
    """
    from transformers import AutoConfig

    fix = "correct the field, or download the model again"
    with quiet(), refusing(f"{folder}/config.json is invalid", fix):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)


def is_multimodal(whole: Any) -> bool:
    """Whether a configuration has that of a text model inside."""
    return "text_config" in type(whole).sub_configs


def configuration(folder: Path) -> Any:
    """The configuration of the text model in a checked folder, as a causal language model of its own.

    Raises:
        UserError: see `whole_configuration` and `models.text_part.text_names`.
    """
    whole = whole_configuration(folder)
    if not is_multimodal(whole):
        return whole
    names = stored_names(folder)
    # Whether embeddings are tied is a field of the multimodal model; own output embeddings in the files overrule it.
    tied = bool(whole.tie_word_embeddings) and not any(name.startswith(names.head) for name in tensor_names(folder))
    config = text_config(whole, tied)
    config.name_or_path = whole.name_or_path
    settings = getattr(whole, "quantization_config", None)
    if settings is not None:
        config.quantization_config = for_text_model(settings, names)
    return config


def stored_names(folder: Path) -> TextNames:
    """Where the text model of a multimodal checkpoint is in its files.

    Raises:
        UserError: see `models.text_part.text_names`.
    """
    return text_names(folder, tensor_names(folder))


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors in the weight files."""
    return [tensor.name for header in read_headers(weight_files(folder)) for tensor in header.tensors]


def text_headers(folder: Path) -> list[Header]:
    """The headers of the weight files, with the tensors of the text model only, under their text-only names.

    Raises:
        UserError: see `weight_files` and `models.safetensors_header.read_header`.
    """
    headers = read_headers(weight_files(folder))
    if not is_multimodal(whole_configuration(folder)):
        return headers
    names = text_names(folder, (tensor.name for header in headers for tensor in header.tensors))
    return [
        replace(
            header,
            tensors=tuple(
                replace(tensor, name=name) for tensor in header.tensors if (name := names.text(tensor.name)) is not None
            ),
        )
        for header in headers
    ]


def loading(folder: Path) -> dict[str, Any]:
    """The arguments with which `AutoModelForCausalLM.from_pretrained` loads the text model of a folder.

    Weights in 8 or 4 bits are widened to bfloat16.
    """
    whole = whole_configuration(folder)
    arguments: dict[str, Any] = {"use_safetensors": True, "trust_remote_code": False, "local_files_only": True}
    if is_multimodal(whole):
        arguments |= {"config": configuration(folder), "key_mapping": stored_names(folder).key_mapping}
    if getattr(whole, "quantization_config", None) is not None:
        config = copy.deepcopy(arguments.get("config", whole))
        config.quantization_config = widening(config.quantization_config)
        arguments["config"] = config
    return arguments


def source_notes(folder: Path) -> tuple[str, ...]:
    """What readers of figures must know about the files of a model: which part is used, and what was quantized."""
    whole = whole_configuration(folder)
    notes = []
    if is_multimodal(whole):
        notes.append(
            f"of this multimodal checkpoint ({whole.model_type}), only the text model is used "
            f"({configuration(folder).model_type}, {configuration(folder).num_hidden_layers} layers)"
        )
    if method := method_of(getattr(whole, "quantization_config", None)):
        notes.append(
            f"the checkpoint is stored in {method} ({WIDENED[method]} bits per quantized weight), and its weights are "
            "widened to bfloat16 on loading"
        )
    return (*notes, *gguf_notes(folder))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that transformers loads from a checkpoint, sorted by name.

    Raises:
        UserError: there are none, or a file in the index is missing.
    """
    index, single = folder / INDEX, folder / SINGLE
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
