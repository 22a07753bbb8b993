"""Log-likelihoods computed by HFLM of lm-evaluation-harness, on the model in memory."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines import UNRECORDED, Likelihood, Recorder
from layerlimits.engines.sweep import SweepEngine
from layerlimits.models.finite import refusal
from layerlimits.types import Continuation, Kind, Variant


class HflmEngine(SweepEngine):
    """Gives exactly the scores of the `lm_eval` command; generates as `SweepEngine` does.

    The log-softmax is float32, which is the default of `lm_eval` for float32 models only; for models in a 16-bit type
    it is the option `softmax_dtype=float32`.

    Args:
        batch_size: rows per batch of HFLM. With 1, which is also the default of `lm_eval`, a log-probability does not
            depend on the other rows; larger batches are faster on a GPU.
        max_rows: maximum number of answers decoded at the same time.
    """

    # Generation is inherited, so one run folder shares the generated answers of both engines.
    computed_by: ClassVar[dict[Kind, str]] = {"generation": SweepEngine.__name__}

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 1, max_rows: int = 2048
    ) -> None:
        from lm_eval.models.huggingface import HFLM

        from layerlimits.lm_eval_bridge import quiet

        super().__init__(model, tokenizer, max_rows=max_rows)
        self.weighs_independently = batch_size == 1
        with quiet():
            self._harness = HFLM(
                pretrained=model, tokenizer=tokenizer, batch_size=batch_size, softmax_dtype=torch.float32
            )

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[Likelihood]:
        """Log-likelihood of each continuation after its context in nats, and whether greedy decoding would write it.

        Raises:
            UserError: the logits are not finite.
        """
        # HFLM also takes the texts, for a cache that is not in use.
        requests = [(None, context, continuation) for context, continuation in rows]
        results: list[Likelihood] = self._harness._loglikelihood_tokens(requests, disable_tqdm=True)
        if any(math.isnan(logprob) for logprob, _ in results):
            raise refusal(self._removed(), self._model.dtype)
        doubtful = [row for row, (logprob, _) in zip(rows, results, strict=True) if logprob == -math.inf]
        if doubtful:
            # Raises unless the continuations only contain a token that the model masks.
            super().loglikelihood_batch(doubtful)
        return results

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation], recorder: Recorder = UNRECORDED
    ) -> list[list[Likelihood]]:
        """As `Engine.loglikelihoods`, one variant at a time."""
        return self._one_by_one(variants, rows, recorder)


# The registry looks plug-ins up by the name of their file.
hflm = HflmEngine
