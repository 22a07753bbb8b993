"""Models in a single .gguf file: widened once to a folder that stock transformers loads, which is kept in the cache.

The folder is named by the hash of the file, so that a changed file is read again. It is written under another name and
appears when it is complete.
"""

import json
import os
import re
import shutil
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.foreign import check_file, read_object, reason, refusing
from layerlimits.models.number_type import DTYPES
from layerlimits.models.quiet import quiet
from layerlimits.paths import cache_folder, file_hash
from layerlimits.resources import check_memory
from layerlimits.version import __version__

SUFFIX = ".gguf"
# What the file was, beside the widened weights; it travels with pruned checkpoints.
_RECORD = "layerlimits-gguf.json"
# Types that are not quantized, and the number type of a folder written from a file with mostly these.
_FLOATS = {"F64": "float32", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_DOWNLOAD = "download the file again"
_PART = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
_SHARD = "5GB"


def is_gguf(path: Path) -> bool:
    """Whether a path is that of a GGUF file, which need not exist."""
    return path.suffix.lower() == SUFFIX


def widened(file: Path) -> Path:
    """The folder with the weights of a GGUF file, widened, its configuration and its tokenizer; written if necessary.

    Weights of a file that is quantized are widened to bfloat16; those of other files keep their type.

    Raises:
        UserError: the package gguf is not installed; the file is a part of a model, damaged, truncated, or of an
            architecture that transformers does not read; or memory or disk space do not suffice.
    """
    _check(file)
    out = cache_folder("gguf") / file_hash(file)
    if (out / _RECORD).exists():
        return out
    types = _types(file)
    dtype = _dtype(types)
    needed = sum(types.values()) * DTYPES[dtype].itemsize
    # The weights of the file and those of the model are in memory at the same time.
    check_memory(f"widening {file.name} to {dtype}", 2 * needed, "use a machine with more memory")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        _check_space(file, partial, needed)
        _write(file, partial, dtype)
        record = {"made_by": f"layerlimits {__version__}", "file": file.name, "dtype": dtype, "weights": types}
        (partial / _RECORD).write_text(json.dumps(record, indent=1) + "\n")
        _appear(partial, out)
    except OSError as error:
        raise UserError(
            f"cannot widen {file.name} in {out.parent}: {reason(error)}", "set XDG_CACHE_HOME to a folder with space"
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return out


def gguf_notes(folder: Path) -> tuple[str, ...]:
    """A note that says what was quantized, if the weights of a folder come from a GGUF file."""
    if not (folder / _RECORD).exists():
        return ()
    record = read_object(folder / _RECORD)
    types, file = record.get("weights"), record.get("file")
    if not isinstance(types, dict) or not all(isinstance(count, int) and count > 0 for count in types.values()):
        return ()
    total = sum(types.values())
    shares = ", ".join(f"{count / total:.1%} {kind}" for kind, count in Counter(types).most_common())
    quantized = "quantized weights were" if set(types) - set(_FLOATS) else "weights were"
    return (f"{quantized} read from {file} ({shares}) and widened to {record.get('dtype')}",)


def _check(file: Path) -> None:
    size = check_file(file, None, _DOWNLOAD)
    if find_spec("gguf") is None:
        raise UserError(
            f"{file} is a GGUF file, which needs the package gguf", "pip install layerlimits[gguf], or use a folder"
        )
    part = _PART.search(file.name)
    if part and int(part[1]) > 1:
        raise UserError(
            f"{file} is one of {int(part[1])} parts of a model",
            "join the parts to one file (llama-gguf-split --merge)",
        )
    with file.open("rb") as stream:
        if stream.read(4) != b"GGUF":
            raise UserError(f"{file} is not a GGUF file: its first bytes are not GGUF ({size:,} bytes)", _DOWNLOAD)
    _check_architecture(file)


def _check_architecture(file: Path) -> None:
    """Check, before weights are read, that transformers has a causal language model for the file."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    fix = "use the safetensors checkpoint of the same model"
    _types(file)
    with quiet(), refusing(f"transformers cannot read {file}", fix):
        config = AutoConfig.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    if config.is_encoder_decoder or config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        raise UserError(f"{file} is not a causal language model ({config.model_type})", fix)


def _types(file: Path) -> dict[str, int]:
    """The number of weights by their type in a GGUF file.

    Raises:
        UserError: the file is truncated or damaged.
    """
    from gguf import GGUFReader

    counts = Counter[str]()
    with refusing(f"{file} is truncated or damaged ({file.stat().st_size:,} bytes)", _DOWNLOAD):
        for tensor in GGUFReader(file).tensors:
            counts[tensor.tensor_type.name] += int(tensor.n_elements)
    if not counts:
        raise UserError(f"{file} has no weights", _DOWNLOAD)
    return dict(counts)


def _dtype(types: dict[str, int]) -> str:
    if set(types) - set(_FLOATS):
        return "bfloat16"
    return _FLOATS[max(types, key=lambda kind: types[kind])]


def _check_space(file: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"widening {file.name} needs {needed / 1e9:.1f} GB in {folder.parent}, which has {free / 1e9:.1f} GB free",
            "free disk space, or set XDG_CACHE_HOME to a folder on another disk",
        )


def _write(file: Path, folder: Path, dtype: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    # Its annotation does not cover `gguf_file`.
    auto: Any = AutoModelForCausalLM
    with quiet(), refusing(f"transformers cannot read {file}", "use the safetensors checkpoint of the same model"):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
        settings = GgufConfig(dequantize=True)
        model = auto.from_pretrained(file.parent, dtype=DTYPES[dtype], quantization_config=settings, **source)
        # A model that was read from GGUF refuses to be saved, although its weights are no longer quantized.
        model.hf_quantizer, model._weight_conversions = None, None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder, max_shard_size=_SHARD)
        tokenizer.save_pretrained(folder)


def _appear(partial: Path, out: Path) -> None:
    try:
        partial.rename(out)
    except OSError:
        # Another process was faster.
        if not (out / _RECORD).exists():
            raise
