"""Greedy generation and log-likelihoods with transformers itself, one batch at a time."""

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.types import Response


class transformers:  # noqa: N801  # a plug-in is named like its file
    """Runs the model as it is at the time of the call: layers skipped by a view stay skipped here."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model: Any = model
        self._tokenizer = tokenizer
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        ends = model.generation_config.eos_token_id
        if ends is None:
            ends = tokenizer.eos_token_id
        self._ends = [ends] if isinstance(ends, int) else list(ends or [])

    def _check_length(self, longest: int) -> None:
        most = getattr(self._model.config, "max_position_embeddings", None)
        if most is not None and longest > most:
            raise UserError(
                f"a prompt with its answer takes {longest} tokens, and the model has {most} positions",
                "leave this task out, or use a model with a longer context",
            )

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], max_new_tokens: int) -> list[Response]:
        """One greedy response a prompt; the end token is not part of `tokens`.

        Raises:
            UserError: a prompt and `max_new_tokens` exceed the model's positions.
        """
        longest = max(map(len, prompts))
        self._check_length(longest + max_new_tokens)
        ids, mask = self._pad_left(prompts, longest)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            pad_token_id=self._pad,
            eos_token_id=self._ends or None,
            bos_token_id=self._tokenizer.bos_token_id,
        )
        written = self._model.generate(ids, attention_mask=mask, generation_config=settings)
        return [self._cut(row[longest:].tolist()) for row in written]

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
    def choose(self, prompts: list[list[int]], choices: list[list[list[int]]]) -> list[Response]:
        """Sum of the log-probabilities of each choice's tokens after its prompt, in nats.

        Raises:
            UserError: a prompt and its longest choice exceed the model's positions.
        """
        rows = [prompt + choice for prompt, options in zip(prompts, choices, strict=True) for choice in options]
        spans = [
            (len(prompt), len(prompt) + len(choice))
            for prompt, options in zip(prompts, choices, strict=True)
            for choice in options
        ]
        longest = max(map(len, rows))
        self._check_length(longest)
        ids = torch.tensor([row + [self._pad] * (longest - len(row)) for row in rows], device=self._model.device)
        # Right padding and causal attention: no real token sees a pad, so no mask is needed.
        logits = self._model(input_ids=ids, use_cache=False).logits
        sums = iter([self._sum(logits[row], ids[row], start, end) for row, (start, end) in enumerate(spans)])
        return [Response("", (), "likelihood", tuple(next(sums) for _ in options)) for options in choices]

    @staticmethod
    def _sum(logits: Tensor, ids: Tensor, start: int, end: int) -> float:
        """Log-probability of tokens start..end-1 of a row: logits (T, V), ids (T,)."""
        logprobs = logits[start - 1 : end - 1].float().log_softmax(-1)
        return float(logprobs.gather(1, ids[start:end, None]).sum())
