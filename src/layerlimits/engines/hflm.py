"""Log-likelihoods by lm-evaluation-harness's own HFLM, on the model in memory."""

import math
from collections.abc import Sequence
from typing import ClassVar

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines.sweep import SweepEngine
from layerlimits.models.finite import refusal
from layerlimits.types import Continuation, Kind, Variant


class HflmEngine(SweepEngine):
    """Gives the scores of the `lm_eval` command, to the last digit; generates as the engine `sweep` does.

    Args:
        batch_size: rows HFLM asks at once. With 1, which is also the command's default, a log-probability does not
            depend on what is asked beside it; more is quicker on a GPU.
        max_rows: answers under way at a time.
    """

    # Generation is inherited: its answers are those of `sweep`, and one run folder shares them.
    computed_by: ClassVar[dict[Kind, str]] = {"generation": SweepEngine.__name__}

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 1, max_rows: int = 2048
    ) -> None:
        from lm_eval.models.huggingface import HFLM

        from layerlimits.lm_eval_bridge import quiet

        super().__init__(model, tokenizer, max_rows=max_rows)
        with quiet():
            self._harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)

    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Of each (context, continuation): sum of the log-probabilities of the continuation's tokens, in nats, and
        whether each of them is the likeliest.

        Raises:
            UserError: logits that are not finite.
        """
        # HFLM wants the texts too, for a cache that is not in use.
        requests = [(None, context, continuation) for context, continuation in rows]
        weighed: list[tuple[float, bool]] = self._harness._loglikelihood_tokens(requests, disable_tqdm=True)
        if any(math.isnan(logprob) for logprob, _ in weighed):
            raise refusal(self._removed(), self._model.dtype)
        doubtful = [row for row, (logprob, _) in zip(rows, weighed, strict=True) if logprob == -math.inf]
        if doubtful:
            # Refused unless the rows only want a token that the model masks.
            super().loglikelihood_batch(doubtful)
        return weighed

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """As `Engine.loglikelihoods`, one variant at a time."""
        return self._one_by_one(variants, rows)


# The registry looks plug-ins up by the name of their file.
hflm = HflmEngine
