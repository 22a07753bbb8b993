"""Loading a model with its tokenizer, after all checks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from layerlimits.chat import check_template
from layerlimits.errors import UserError
from layerlimits.foreign import DOWNLOAD_AGAIN, check_file, read_object, refusing
from layerlimits.models.checkpoint import configuration, loading, source_notes, text_headers
from layerlimits.models.locate import check_complete, fingerprint, locate
from layerlimits.models.number_type import DTYPES, NumberType, choose
from layerlimits.models.remove import assert_removal_changes_logits
from layerlimits.models.safetensors_header import Header, StoredTensor
from layerlimits.models.stack import find_stack
from layerlimits.models.vocabulary import embedded_tokens
from layerlimits.models.weights_check import check_report
from layerlimits.resources import check_memory
from layerlimits.types import ModelRef

# The largest vocabularies take some 40 MB.
_TOKENIZER_BYTES = {"tokenizer.json": 1 << 30, "tokenizer.model": 1 << 30, "chat_template.jinja": 1 << 20}
_TOKENIZER_OBJECTS = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")


@dataclass(frozen=True)
class Loaded:
    """A model in memory: `ref` identifies it, `model` is unpruned, `folder` has its files, `depth` is its layers.

    `number_type` is the number type of `ref` with the reason for it; `notes` say what part of the files is used, and
    what was quantized.
    """

    ref: ModelRef
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    depth: int
    number_type: NumberType
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """The notes as sentences about the model, for results."""
        return tuple(f"{self.ref.path}: {note}." for note in self.notes)

    def check_removal_changes_logits(self, removed: tuple[int, ...]) -> None:
        """See `models.remove.assert_removal_changes_logits`."""
        if removed:
            assert_removal_changes_logits(self.model, removed)


def pick_device(device: str) -> str:
    """Resolve the device; "auto" is the GPU if there is one.

    Raises:
        UserError: torch or this machine does not have the device.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # Tensors on the meta device have no values, so that copying one fails.
        torch.zeros(1, device=device).cpu()
    # torch raises several types of exceptions for devices that it was built without.
    except Exception:
        raise UserError(
            f"device {device!r} is not available on this machine", "use device cpu or auto (--device)"
        ) from None
    return device


def load(model: str, *, revision: str | None = None, dtype: str = "auto", device: str = "auto") -> Loaded:
    """Check a model, then load it. Only safetensors weights are read, and no code of the model folder is run.

    Raises:
        UserError: see `models.locate.check_complete`, `models.number_type.choose` and `models.stack.find_stack`; or the
            weights do not fit the configuration.
    """
    # Commands have their own progress bars.
    disable_progress_bar()
    folder = locate(model, revision)
    check_complete(folder)
    config, headers = configuration(folder), text_headers(folder)
    where = pick_device(device)
    number_type = choose(dtype, config.to_dict(), headers, where)
    _check_memory(model, headers, number_type.dtype)
    network, tokenizer = _read(folder, model, number_type.dtype)
    network.to(torch.device(where)).eval()  # type: ignore[arg-type]  # transformers hides the types of `to`
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id >= embedded_tokens(network):
        # Padding is masked, so that any token with an embedding will do.
        tokenizer.pad_token = tokenizer.eos_token
    stack = find_stack(network)
    ref = ModelRef(model, fingerprint(folder), revision, (), number_type.dtype)
    notes = source_notes(folder)
    number_type = replace(number_type, reason="; ".join((number_type.reason, *notes)))
    return Loaded(ref, folder, network, tokenizer, len(stack), number_type, notes)


def _check_memory(model: str, headers: Sequence[Header], dtype: str) -> None:
    """Check that the weights fit into memory, before they are read.

    Raises:
        UserError: They do not.
    """
    weights = sum(_weights(tensor) for header in headers for tensor in header.tensors)
    needed = weights * DTYPES[dtype].itemsize
    check_memory(f"loading {model} in {dtype}", needed, "use a smaller dtype (--dtype) or a machine with more memory")


def _weights(tensor: StoredTensor) -> int:
    """The number of weights in a tensor; a byte of mxfp4 has two."""
    return tensor.elements * (2 if tensor.name.endswith("_blocks") and tensor.dtype == "U8" else 1)


def _read(folder: Path, model: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with exactly the weights of the checkpoint, and the tokenizer."""
    # Its annotation does not cover `output_loading_info`.
    auto: Any = AutoModelForCausalLM
    options = loading(folder)
    quantized = getattr(options.get("config"), "quantization_config", None) is not None
    with refusing(f"cannot load {model}", "check the folder, or download the model again"):
        network, report = auto.from_pretrained(
            folder,
            # Weights are widened in one way, whatever type the model computes in.
            dtype=torch.bfloat16 if quantized else DTYPES[dtype],
            output_loading_info=True,
            **options,
        )
    # The headers were checked before; this makes sure that every weight was actually read.
    check_report(folder, report, network.config, text_headers(folder))
    if "config" in options:
        _settle(network, DTYPES[dtype])
    return network, read_tokenizer(folder)


def _settle(network: PreTrainedModel, dtype: torch.dtype) -> None:
    """Give widened weights the type of the model, and let all weights be saved under text-only names."""
    for parameter in network.parameters():
        if parameter.dtype == torch.bfloat16:
            parameter.data = parameter.data.to(dtype)
    # transformers would otherwise save them under the names they were loaded from.
    if "_weight_conversions" in vars(network):
        del network._weight_conversions


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; no weights are read.

    Raises:
        UserError: Its files are missing or damaged.
    """
    for name, most in _TOKENIZER_BYTES.items():
        if (folder / name).exists():
            check_file(folder / name, most, DOWNLOAD_AGAIN)
    for name in _TOKENIZER_OBJECTS:
        if (folder / name).exists():
            read_object(folder / name)
    with refusing(f"failed to load the tokenizer from {folder}", "check the folder, or download the model again"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    check_template(tokenizer.chat_template, folder)
    return tokenizer


def parameter_count(model: PreTrainedModel) -> int:
    """Number of parameters of the model in its current state; tied parameters count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: PreTrainedModel) -> int:
    """Memory of the parameters in bytes."""
    return sum(_tensor_bytes(parameter) for parameter in model.parameters())


def _tensor_bytes(tensor: Any) -> int:
    """Memory of a tensor. A quantized one consists of others, and has the shape and type of what it stands for."""
    if hasattr(tensor, "__tensor_flatten__"):
        names, _ = tensor.__tensor_flatten__()
        return sum(_tensor_bytes(getattr(tensor, name)) for name in names)
    return int(tensor.numel() * tensor.element_size())
