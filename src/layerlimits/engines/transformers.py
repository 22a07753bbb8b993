"""Generation and log-likelihoods with transformers itself, one batch at a time."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.engines import SingleModelEngine
from layerlimits.models.finite import NonFiniteLogits, likeliest, refusal, watched
from layerlimits.models.generation import end_tokens, own_settings_only
from layerlimits.models.stack import find_stack
from layerlimits.types import GREEDY, Continuation, Decoding, Response


class TransformersEngine(SingleModelEngine):
    """Runs the model as it is at the time of the call: layers skipped by a view stay skipped here."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model)
        self._tokenizer = tokenizer
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._ends = list(end_tokens(model, tokenizer))
        # Tells which layers a view lacks, in the numbering of the model given here.
        self._layers = [id(layer) for layer in find_stack(model).layers]

    @torch.no_grad()
    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """One response a prompt; the end token is not part of `tokens`. Drawing leaves torch's own state alone."""
        longest = max(map(len, prompts))
        ids, mask = self._pad_left(prompts, longest)
        settings = self._settings(max_new_tokens, decoding)
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=decoding.temperature > 0):
            if decoding.temperature:
                torch.manual_seed(seed)
            with self._refusing(), own_settings_only(self._model), watched(self._model):
                written = self._model.generate(ids, attention_mask=mask, generation_config=settings)
        return [self._cut(row[longest:].tolist()) for row in written]

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Within the block, logits that are not finite become an error that names the layers removed.

        Raises:
            UserError: in the block.
        """
        try:
            yield
        except NonFiniteLogits:
            raise refusal(self._removed(), self._model.dtype) from None

    def _removed(self) -> list[int]:
        """The layers that the model lacks as it is now."""
        there = {id(layer) for layer in find_stack(self._model).layers}
        return [number for number, layer in enumerate(self._layers) if layer not in there]

    def _settings(self, max_new_tokens: int, decoding: Decoding) -> GenerationConfig:
        drawn: dict[str, Any] = {"do_sample": False}
        if decoding.temperature:
            drawn = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
            # The default of transformers is 50.
            drawn["top_k"] = decoding.top_k
        return GenerationConfig(
            **drawn,
            max_new_tokens=max_new_tokens,
            pad_token_id=self._pad,
            eos_token_id=self._ends or None,
            bos_token_id=self._tokenizer.bos_token_id,
        )

    def _pad_left(self, prompts: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
        """Ids and mask, (N, T) both."""
        ids = [[self._pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self._model.device), torch.tensor(mask, device=self._model.device)

    def _cut(self, tokens: list[int]) -> Response:
        for at, token in enumerate(tokens):
            if token in self._ends:
                return self._response(tokens[:at], stopped=True)
        return self._response(tokens, stopped=False)

    def _response(self, tokens: list[int], *, stopped: bool) -> Response:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Response(str(text), tuple(tokens), "stop" if stopped else "length")

    @torch.no_grad()
    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[tuple[float, bool]]:
        """Of each (context, continuation): sum of the log-probabilities of the continuation's tokens, in nats, and
        whether each of them is the likeliest.
        """
        # The last token predicts nothing that is asked for.
        texts = [(context + continuation)[:-1] for context, continuation in rows]
        longest = max(map(len, texts))
        ids = torch.tensor([text + [self._pad] * (longest - len(text)) for text in texts], device=self._model.device)
        # Right padding and causal attention: no real token sees a pad, so no mask is needed.
        logits = self._model(input_ids=ids, use_cache=False).logits
        with self._refusing():
            return [
                self._sum(logits[at, len(context) - 1 :][: len(continuation)], continuation)
                for at, (context, continuation) in enumerate(rows)
            ]

    @staticmethod
    def _sum(logits: Tensor, continuation: list[int]) -> tuple[float, bool]:
        """For logits (T, V) that predict the T tokens of a continuation."""
        logprobs = logits.float().log_softmax(-1)
        wanted = torch.tensor(continuation, device=logits.device)
        greedy = bool((likeliest(logprobs) == wanted).all())
        return float(logprobs.gather(1, wanted[:, None]).sum()), greedy


# The registry looks plug-ins up by the name of their file.
transformers = TransformersEngine
