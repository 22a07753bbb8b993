"""Loading a model with its tokenizer, after all checks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from layerlimits.errors import UserError
from layerlimits.models.locate import check_complete, fingerprint, locate, weight_files
from layerlimits.models.number_type import DTYPES, NumberType, choose
from layerlimits.models.remove import assert_removal_changes_logits
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.stack import find_stack
from layerlimits.models.weights_check import check_report
from layerlimits.resources import check_memory
from layerlimits.types import ModelRef


@dataclass(frozen=True)
class Loaded:
    """A model in memory: `ref` identifies it, `model` is unpruned, `folder` has its files, `depth` is its layers.

    `number_type` is the number type of `ref` with the reason for it.
    """

    ref: ModelRef
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    depth: int
    number_type: NumberType

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
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
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
    config = check_complete(folder)
    where = pick_device(device)
    number_type = choose(dtype, config, read_headers(weight_files(folder)), where)
    _check_memory(model, folder, number_type.dtype)
    network, tokenizer = _read(folder, model, number_type.dtype)
    network.to(torch.device(where)).eval()  # type: ignore[arg-type]  # transformers hides the types of `to`
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    stack = find_stack(network)
    ref = ModelRef(model, fingerprint(folder), revision, (), number_type.dtype)
    return Loaded(ref, folder, network, tokenizer, len(stack), number_type)


def _check_memory(model: str, folder: Path, dtype: str) -> None:
    """Check that the weights fit into memory, before they are read.

    Raises:
        UserError: They do not.
    """
    weights = sum(tensor.elements for header in read_headers(weight_files(folder)) for tensor in header.tensors)
    needed = weights * DTYPES[dtype].itemsize
    check_memory(f"loading {model} in {dtype}", needed, "use a smaller dtype (--dtype) or a machine with more memory")


def _read(folder: Path, model: str, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model with exactly the weights of the checkpoint, and the tokenizer."""
    # Its annotation does not cover `output_loading_info`.
    auto: Any = AutoModelForCausalLM
    try:
        network, report = auto.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            output_loading_info=True,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot load {model}: {reason}", "check the folder, or download the model again") from None
    # The headers were checked before; this makes sure that every weight was actually read.
    check_report(folder, report, network.config, read_headers(weight_files(folder)))
    return network, read_tokenizer(folder)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a model; no weights are read.

    Raises:
        UserError: Its files are missing or damaged.
    """
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"failed to load the tokenizer from {folder}: {reason}", "check the folder, or download the model again"
        ) from None
    return tokenizer


def parameter_count(model: PreTrainedModel) -> int:
    """Number of parameters of the model in its current state; tied parameters count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: PreTrainedModel) -> int:
    """Memory of the parameters in bytes."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
