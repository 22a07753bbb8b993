"""Whether a model's rows can share layers: tried on a few tokens, against the model itself."""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.engines._forks import read
from layerlimits.engines._pool import Pool
from layerlimits.engines._rows import Rows
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.types import Variant

# Logits may differ by rounding: this share of their range.
_ROUNDING = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True)
class Trial:
    """Why rows of a model cannot share layers, None where they can, and what a token's keys and values take."""

    refusal: str | None
    token_bytes: int = 0


@torch.no_grad()
def tried(model: PreTrainedModel) -> Trial:
    """Try whether rows of a model can share layers.

    Two texts of unlike length go through four variants, fork, and take one more token; the logits must be those of the
    model with the layers removed. State carried between tokens, layers that read another's cache and masks of a kind
    of their own fail here, whatever the architecture is called.
    """
    depth, size = len(find_stack(model)), model.config.get_text_config().vocab_size
    variants = list(dict.fromkeys([(), (0,), (depth - 1,), tuple(range(depth // 2, depth - 1))]))
    texts = [[(7 * at + 3) % size for at in range(length)] for length in (11, 6)]
    try:
        shared, token_bytes = _shared(model, variants, texts)
    except Exception as error:
        # Whatever a layer of an unknown kind does when it is called with other rows.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Trial(f"{type(model).__name__} cannot share layers between rows ({reason[:120]})")
    for at, variant in enumerate(variants):
        with without_layers(model, variant):
            for text, ids in enumerate(texts):
                stock = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -2:]
                # Logits that are not finite are refused when they are asked for; masked tokens are -inf in both.
                usable = stock.isfinite()
                if not bool(usable.any()):
                    continue
                apart = float((stock - shared[at, text])[usable].abs().max())
                allowed = _ROUNDING[str(model.dtype).removeprefix("torch.")] * float(stock[usable].abs().max() + 1)
                if not apart <= allowed:
                    return Trial(f"{type(model).__name__} gives other logits when rows share layers (by {apart:.2g})")
    return Trial(None, token_bytes)


def _shared(model: PreTrainedModel, variants: list[Variant], texts: list[list[int]]) -> tuple[Tensor, int]:
    """The logits of the last two positions, the last of them decoded: (variants, texts, 2, V); and a token's bytes."""
    rows = Rows(model)
    chosen = [(variant, text) for variant in range(len(variants)) for text in range(len(texts))]
    wanted = [(variant, text, len(texts[text]) - 2) for variant, text in chosen]
    longest = max(map(len, texts))
    with rows.opened():
        before, led = read(rows, [text[:-1] for text in texts], variants, wanted, longest)
        pool = Pool(led.alone[:, :0], torch.empty(0, dtype=torch.long), longest, led.device)
        pool.add(led, torch.arange(len(texts), led.size))
        ids = torch.tensor([[texts[text][-1]] for _, text in chosen], device=model.device)
        at = torch.tensor([[len(texts[text]) - 1] for _, text in chosen], device=model.device)
        last = torch.arange(pool.size), torch.zeros(pool.size, dtype=torch.long)
        after = rows.logits(pool, ids, at, longest, last)
    both: Tensor = torch.stack([before, after], 1).unflatten(0, (len(variants), len(texts)))
    return both, pool.row_bytes // longest
