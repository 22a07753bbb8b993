"""Loading a checked model with its tokenizer, and describing it."""

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
    """A model in memory: `ref` names it, `model` is unpruned, `folder` holds its files."""

    ref: ModelRef
    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    depth: int

    def check_removal_changes_logits(self, removed: tuple[int, ...]) -> None:
        """Stop if removing these layers changes no logit (see `models.remove.assert_removal_changes_logits`)."""
        if removed:
            assert_removal_changes_logits(self.model, removed)


def pick_device(device: str) -> str:
    """The device, where "auto" is the GPU if there is one.

    Raises:
        UserError: a device torch does not know or this machine does not have.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UserError(f"this machine has no device {device!r}", "use --device cpu, or auto") from None
    return device


def pick_dtype(dtype: str, config: dict[str, Any], device: str) -> str:
    """The type, where "auto" is float32 on a CPU and the checkpoint's own type on a GPU.

    Raises:
        UserError: a type that is not one of float32, bfloat16, float16.
    """
    if dtype == "auto":
        stored = config.get("dtype") or config.get("torch_dtype") or "float32"
        return stored if device != "cpu" and isinstance(stored, str) and stored in DTYPES else "float32"
    if dtype not in DTYPES:
        raise unknown("dtype", dtype, [*DTYPES, "auto"])
    return dtype


def load(model: str, *, revision: str | None = None, dtype: str = "auto", device: str = "auto") -> Loaded:
    """Check, then load. Only safetensors weights are read and no code of the model folder is run.

    Raises:
        UserError: see `models.locate.check_complete` and `models.stack.find_stack`; or weights that do not fit the
            configuration.
    """
    # Loading a model is one step of a command that has a progress bar of its own.
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
    """The weights, as a model that has no others, and the tokenizer."""
    # Declared to return a model only, whatever it is asked.
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
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"{model} cannot be loaded: {reason}", "check the folder, or download the model again"
        ) from None
    # The headers said so already: nothing is answered by weights that were never read, whatever happened since.
    check_report(folder, report, network.config, read_headers(weight_files(folder)))
    return network, tokenizer


def parameter_count(model: PreTrainedModel) -> int:
    """Parameters as they are now, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: PreTrainedModel) -> int:
    """Memory the parameters take, in bytes."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
