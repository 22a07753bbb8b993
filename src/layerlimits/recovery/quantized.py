"""QLoRA (arXiv 2305.14314): adapters on a model in 4 bits, merged into the weights that were not quantized."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, PreTrainedModel

from layerlimits.errors import UserError

# bitsandbytes quantizes weights in blocks of 64.
_PROBE = (64, 64)


def check_quantization(device: str) -> None:
    """Check that bitsandbytes can quantize on a device.

    Raises:
        UserError: It is missing, or fails there.
    """
    fix = "use --kind lora, or install bitsandbytes on a machine with a device that it supports"
    try:
        from bitsandbytes import functional
    except ImportError:
        raise UserError("QLoRA (--kind qlora) requires bitsandbytes, which is not installed", fix) from None
    try:
        values = torch.ones(_PROBE, dtype=torch.bfloat16, device=device)
        functional.dequantize_4bit(*functional.quantize_4bit(values, quant_type="nf4", compress_statistics=True))
    # It raises errors of several kinds, depending on its version.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"QLoRA (--kind qlora): bitsandbytes does not run on {device}: {reason}", fix) from None


def check_optimizer(device: str) -> None:
    """Check that the 8-bit optimizer runs on a device.

    Raises:
        UserError: bitsandbytes is missing, or has no such optimizer there.
    """
    fix = "use --optimizer adafactor, or install bitsandbytes on a machine with a device that it supports"
    try:
        from bitsandbytes.optim import AdamW8bit
    except ImportError:
        raise UserError("--optimizer adamw_8bit requires bitsandbytes, which is not installed", fix) from None
    try:
        # Smaller tensors keep a state in 32 bits.
        weight = torch.nn.Parameter(torch.ones(4096 * 2, device=device))
        weight.grad = torch.ones_like(weight)
        AdamW8bit([weight]).step()
    # It raises errors of several kinds, depending on its version.
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"--optimizer adamw_8bit: bitsandbytes does not run on {device}: {reason}", fix) from None


def quantized(model: PreTrainedModel) -> PreTrainedModel:
    """A copy of the model in 4 bits: NF4 with double quantization, computing in bfloat16."""
    settings = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        # Its annotation does not cover `quantization_config`.
        auto: Any = AutoModelForCausalLM
        copy: PreTrainedModel = auto.from_pretrained(
            folder, quantization_config=settings, device_map={"": model.device}, local_files_only=True
        )
    return copy


def merged(trained: Any, model: PreTrainedModel) -> PreTrainedModel:
    """The model, whose weights are not quantized, with the adapters of its trained copy merged into them."""
    from peft import PeftModel

    with TemporaryDirectory() as folder:
        trained.save_pretrained(folder)
        result: PreTrainedModel = PeftModel.from_pretrained(model, Path(folder)).merge_and_unload().eval()
    return result
