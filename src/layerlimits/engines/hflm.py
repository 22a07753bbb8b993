"""Log-likelihoods by lm-evaluation-harness's own HFLM, on the model in memory."""

from collections.abc import Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines.transformers import transformers
from layerlimits.types import Continuation


class hflm(transformers):  # noqa: N801  # a plug-in is named like its file
    """Gives the scores of the `lm_eval` command, to the last digit; generates as the engine `transformers` does.

    Args:
        batch_size: rows HFLM asks at once. With 1, which is also the command's default, a log-probability does not
            depend on what is asked beside it; more is quicker on a GPU.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, batch_size: int = 1) -> None:
        from lm_eval.models.huggingface import HFLM

        from layerlimits.harness import quiet

        super().__init__(model, tokenizer)
        with quiet():
            self._harness = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)

    def loglikelihoods(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Of each (context, continuation): sum of the log-probabilities of the continuation's tokens, in nats, and
        whether each of them is the likeliest.
        """
        # HFLM wants the texts too, for a cache that is not in use.
        requests = [(None, context, continuation) for context, continuation in rows]
        found: list[tuple[float, bool]] = self._harness._loglikelihood_tokens(requests, disable_tqdm=True)
        return found
