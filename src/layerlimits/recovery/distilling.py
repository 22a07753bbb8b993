"""Distillation from the unpruned model by TRL's GKDTrainer."""

from dataclasses import dataclass

import torch
from torch import Tensor
from trl.experimental.gkd import GKDConfig as GKDConfig
from trl.experimental.gkd import GKDTrainer
from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

from layerlimits.recovery.rows import IGNORED
from layerlimits.recovery.watching import QuietTrainer


class Distiller(QuietTrainer, GKDTrainer):
    """Trains on the distributions of a teacher over the answers' tokens (Agarwal et al., arXiv 2306.13649)."""


@dataclass(frozen=True)
class PromptCollator:
    """Batches for TRL's GKDTrainer: padded rows, and their prompts padded on the left for generation.

    Args:
        pad_token_id: The padding token.
    """

    pad_token_id: int

    def __call__(self, rows: list[dict[str, list[int]]]) -> dict[str, Tensor]:
        """A batch of rows."""
        batch: dict[str, Tensor] = DataCollatorForLanguageModeling(self.pad_token_id)(rows)
        prompts = [row["input_ids"][: row["labels"].count(IGNORED)] for row in rows]
        width = max(map(len, prompts))
        batch["prompts"] = torch.tensor([[self.pad_token_id] * (width - len(ids)) + ids for ids in prompts])
        batch["prompt_attention_mask"] = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in prompts])
        return batch
