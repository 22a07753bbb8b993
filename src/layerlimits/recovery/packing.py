"""Rows packed into blocks, and the check that an architecture supports it."""

from collections.abc import Sequence
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedModel
from trl.data_utils import pack_dataset

from layerlimits.errors import UserError
from layerlimits.recovery.rows import Row

# Largest difference of a logit between packed and separate examples, relative to the largest logit, by rounding.
_PACKED_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}
# Tokens of each example that the check of packing reads.
_CHECKED_TOKENS = 64


def packed(rows: Sequence[Row], max_length: int) -> list[Row]:
    """Blocks of at most `max_length` tokens that contain all rows, each row in one block (best-fit decreasing)."""
    columns = {"input_ids": [row["input_ids"] for row in rows], "labels": [row["labels"] for row in rows]}
    blocks = pack_dataset(Dataset.from_dict(columns).with_format("arrow"), max_length, "bfd").with_format(None)
    return [
        Row(input_ids=block["input_ids"], labels=block["labels"], seq_lengths=block["seq_lengths"]) for block in blocks
    ]


@torch.no_grad()
def check_packing(model: PreTrainedModel, rows: Sequence[Row]) -> None:
    """Check that examples in one block do not change each other's logits.

    Raises:
        UserError: They do in this architecture.
    """
    first, second = (row["input_ids"][:_CHECKED_TOKENS] for row in (rows[0], rows[-1]))
    positions = [*range(len(first)), *range(len(second))]

    def logits(ids: list[int], **more: Any) -> Tensor:
        result: Tensor = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False, **more).logits[0]
        return result.float()

    together = logits([*first, *second], position_ids=torch.tensor([positions], device=model.device))
    alone = torch.cat([logits(first), logits(second)])
    difference = float((together - alone).abs().max() / alone.abs().max())
    if not difference <= _PACKED_TOLERANCE.get(model.dtype, 1e-3):
        raise UserError(
            f"packing does not work with {model.config.model_type}: examples in one block change each other's logits "
            f"by {difference:.1%}",
            "omit packing (--no-packing)",
        )
