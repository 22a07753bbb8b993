"""What limits the ratios of `bench/real.py`: multiplications that no implementation can leave out."""

import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import linear

from layerlimits.engines._trees import shared_length
from layerlimits.models.load import Loaded
from layerlimits.models.stack import find_stack
from layerlimits.types import Continuation, Response, Variant

# Rows of the products whose best rate counts as the speed of the machine, and how often each is measured.
_ROWS, _RUNS = (256, 512, 1024), 5


def choice_limit(loaded: Loaded, rows: Sequence[Continuation], sweeps: bool) -> float:
    """Ratio of multiplications: HFLM's, which shares one-token choices, over those of one tree and shared layers."""
    stack = find_stack(loaded.model)
    layers = len(stack)
    layer = sum(weight.numel() for weight in stack.layers[0].parameters())
    head = loaded.model.get_output_embeddings().weight.numel()
    single = {tuple(context + continuation)[: len(context) + len(continuation) - 1] for context, continuation in rows}
    texts = [(context + continuation)[:-1] for context, continuation in rows]
    theirs = sum(map(len, single)) * (layer * layers + head)
    tree = sum(map(len, texts)) - sum(shared_length(one, other) for one, other in pairwise(sorted(texts)))
    predicting = len({(*context, *answer[:end]) for context, answer in rows for end in range(len(answer))})
    if not sweeps:
        return theirs / (tree * layer * layers + predicting * head)
    variants = [(number,) for number in range(layers)]
    each = sum(map(len, single)) * (layer * (layers - 1) + head)
    shared = tree * layer * (layers + sum(layers - 1 - number for (number,) in variants)) + layers * predicting * head
    return layers * each / shared


def decoding_seconds(
    loaded: Loaded, prompts: Sequence[Sequence[int]], variants: Sequence[Variant], answers: Sequence[Sequence[Response]]
) -> float:
    """The least time in which this machine can write these answers, in seconds: the products of all tokens, without
    padding or wrong guesses, at the best rate that it reaches. Layers below the removed one read a prompt once.

    Args:
        loaded: The model.
        prompts: Token ids of the prompts.
        variants: Removed layers of each variant, at most one.
        answers: The answers of each variant.
    """
    stack = find_stack(loaded.model)
    layers, layer = len(stack), sum(weight.numel() for weight in stack.layers[0].parameters())
    head = loaded.model.get_output_embeddings().weight.numel()
    read = sum(map(len, prompts))
    # The layers that a variant does not share with others.
    own = [layers - 1 - variant[0] if variant else 0 for variant in variants]
    shared = max(variant[0] if variant else layers for variant in variants)
    total = read * layer * (shared + sum(own))
    for variant, texts in zip(variants, answers, strict=True):
        written = sum(len(answer.tokens) + (answer.finish == "stop") for answer in texts)
        # The first token comes from the prompt's last position.
        total += (written - len(prompts)) * layer * (layers - len(variant)) + written * head
    return 2 * total / best_rate(loaded.model)


@torch.no_grad()
def best_rate(model: Any) -> float:
    """The highest rate of products with the matrices of a layer, in operations per second."""
    matrices = [weight for weight in find_stack(model).layers[0].parameters() if weight.dim() == 2]
    best = 0.0
    for rows in _ROWS:
        inputs = [torch.randn(rows, weight.shape[1], dtype=weight.dtype) for weight in matrices]
        operations = sum(2 * rows * weight.numel() for weight in matrices)
        for _ in range(_RUNS):
            began = time.perf_counter()
            for given, weight in zip(inputs, matrices, strict=True):
                linear(given, weight)
            best = max(best, operations / (time.perf_counter() - began))
    return best
