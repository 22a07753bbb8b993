"""Generation and log-likelihoods with transformers, one batch at a time."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, StoppingCriteria

from layerlimits.engines import Likelihood, SingleModelEngine
from layerlimits.models.finite import NonFiniteLogits, likeliest, refusal, watched
from layerlimits.models.generation import end_tokens, own_settings_only
from layerlimits.models.stack import find_stack
from layerlimits.scoring.transcript import marks_thought
from layerlimits.types import GREEDY, Continuation, Decoding, Response


class TransformersEngine(SingleModelEngine):
    """Runs the model in its current state: layers that `without_layers` has removed stay removed."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model)
        self._tokenizer = tokenizer
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._ends = list(end_tokens(model, tokenizer))
        special = {number: token for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        self._marks = {number for number, token in special.items() if marks_thought(token.content)}
        # Identifies the layers, to report removed ones in the numbering of the model as it is now.
        self._layers = [id(layer) for layer in find_stack(model).layers]

    @torch.no_grad()
    def generate_batch(
        self, prompts: list[list[int]], max_new_tokens: int, decoding: Decoding = GREEDY, seed: int = 0
    ) -> list[Response]:
        """One response per prompt, without the end token. Sampling does not change torch's random state."""
        longest = max(map(len, prompts))
        ids, mask = self._pad_left(prompts, longest)
        settings = self._settings(max_new_tokens, decoding)
        devices = [self._model.device] if self._model.device.type == "cuda" else []
        with torch.random.fork_rng(devices, enabled=decoding.temperature > 0):
            if decoding.temperature:
                torch.manual_seed(seed)
            with self._naming_removed_layers(), own_settings_only(self._model), watched(self._model):
                sequences = self._model.generate(
                    ids,
                    attention_mask=mask,
                    generation_config=settings,
                    stopping_criteria=[_Counting(longest, self._on_step)],
                )
        return [self._cut(row[longest:].tolist()) for row in sequences]

    @contextmanager
    def _naming_removed_layers(self) -> Iterator[None]:
        """Inside the block, `NonFiniteLogits` becomes an error that names the removed layers.

        Raises:
            UserError: inside the block, if logits are not finite.
        """
        try:
            yield
        except NonFiniteLogits:
            raise refusal(self._removed(), self._model.dtype) from None

    def _removed(self) -> list[int]:
        """The layers that are removed at the moment."""
        present = {id(layer) for layer in find_stack(self._model).layers}
        return [number for number, layer in enumerate(self._layers) if layer not in present]

    def _settings(self, max_new_tokens: int, decoding: Decoding) -> GenerationConfig:
        sampling: dict[str, Any] = {"do_sample": False}
        if decoding.temperature:
            sampling = {"do_sample": True, "temperature": decoding.temperature, "top_p": decoding.top_p}
            # transformers would set 50.
            sampling["top_k"] = decoding.top_k
        return GenerationConfig(
            **sampling,
            max_new_tokens=max_new_tokens,
            pad_token_id=self._pad,
            eos_token_id=self._ends or None,
            bos_token_id=self._tokenizer.bos_token_id,
        )

    def _pad_left(self, prompts: list[list[int]], width: int) -> tuple[Tensor, Tensor]:
        """Token ids and attention mask, (N, T) each."""
        ids = [[self._pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        return torch.tensor(ids, device=self._model.device), torch.tensor(mask, device=self._model.device)

    def _cut(self, tokens: list[int]) -> Response:
        for place, token in enumerate(tokens):
            if token in self._ends:
                return self._response(tokens[:place], stopped=True)
        return self._response(tokens, stopped=False)

    def _response(self, tokens: list[int], *, stopped: bool) -> Response:
        # Marks of reasoning that are special tokens stay in the text, since scorers cut the reasoning off.
        text = self._tokenizer.decode(tokens, skip_special_tokens=self._marks.isdisjoint(tokens))
        return Response(str(text), tuple(tokens), "stop" if stopped else "length")

    @torch.no_grad()
    def loglikelihood_batch(self, rows: Sequence[Continuation]) -> list[Likelihood]:
        """Log-likelihood of each continuation after its context in nats, and whether greedy decoding would write it."""
        # The prediction after the last token is not needed.
        texts = [(context + continuation)[:-1] for context, continuation in rows]
        longest = max(map(len, texts))
        ids = torch.tensor([text + [self._pad] * (longest - len(text)) for text in texts], device=self._model.device)
        # With right padding and causal attention no mask is needed: no real token attends to padding.
        logits = self._model(input_ids=ids, use_cache=False).logits
        with self._naming_removed_layers():
            return [
                self._sum(logits[row, len(context) - 1 :][: len(continuation)], continuation)
                for row, (context, continuation) in enumerate(rows)
            ]

    @staticmethod
    def _sum(logits: Tensor, continuation: list[int]) -> Likelihood:
        """Log-likelihood of a continuation of T tokens, given the logits (T, V) that predict them."""
        logprobs = logits.float().log_softmax(-1)
        targets = torch.tensor(continuation, device=logits.device)
        greedy = bool((likeliest(logprobs) == targets).all())
        return float(logprobs.gather(1, targets[:, None]).sum()), greedy


class _Counting(StoppingCriteria):
    """Reports the number of tokens after each step, and stops nothing."""

    def __init__(self, start: int, on_step: Callable[[int], None]) -> None:
        self._start, self._on_step = start, on_step

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Tensor:
        self._on_step(input_ids.shape[1] - self._start)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


# The registry looks plug-ins up by the name of their file.
transformers = TransformersEngine
