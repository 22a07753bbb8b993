"""Loading a model with its tokenizer, after all checks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils.logging import disable_progress_bar

from layerlimits.errors import UserError, unknown
from layerlimits.models.locate import check_complete, fingerprint, locate, weight_files
from layerlimits.models.remove import assert_removal_changes_logits
from layerlimits.models.safetensors_header import read_headers
from layerlimits.models.stack import find_stack
from layerlimits.models.weights_check import check_report
from layerlimits.types import ModelRef

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Loaded:
    """A model in memory: `ref` identifies it, `model` is unpruned, `folder` has its files, `depth` is its layers."""

    ref: ModelRef
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    depth: int

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


def pick_dtype(dtype: str, config: dict[str, Any], device: str) -> str:
    """Resolve the number type; "auto" is float32 on a CPU and the type of the checkpoint on a GPU.

    Raises:
        UserError: the type is not one of float32, bfloat16, float16.
    """
    if dtype == "auto":
        stored = config.get("dtype") or config.get("torch_dtype") or "float32"
        return stored if device != "cpu" and isinstance(stored, str) and stored in DTYPES else "float32"
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, [*DTYPES, "auto"])
    return dtype


def load(model: str, *, revision: str | None = None, dtype: str = "auto", device: str = "auto") -> Loaded:
    """Check a model, then load it. Only safetensors weights are read, and no code of the model folder is run.

    Raises:
        UserError: see `models.locate.check_complete` and `models.stack.find_stack`; or the weights do not fit the
            configuration.
    """
    # Commands have their own progress bars.
    disable_progress_bar()
    folder = locate(model, revision)
    config = check_complete(folder)
    where = pick_device(device)
    kind = pick_dtype(dtype, config, where)
    network, tokenizer = _read(folder, model, kind)
    network.to(torch.device(where)).eval()  # type: ignore[arg-type]  # transformers hides the types of `to`
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    stack = find_stack(network)
    ref = ModelRef(model, fingerprint(folder), revision, (), kind)
    return Loaded(ref, folder, network, tokenizer, len(stack))


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
