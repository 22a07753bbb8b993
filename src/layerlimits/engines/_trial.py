"""Whether rows of a model can share layers: a trial on a few tokens, compared with the model itself."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from transformers import PreTrainedModel

from layerlimits.engines._forks import Reading, read, read_trees
from layerlimits.engines._pool import Pool
from layerlimits.engines._roots import read_root
from layerlimits.engines._rows import Rows
from layerlimits.engines._trees import trees_of
from layerlimits.models.remove import without_layers
from layerlimits.models.stack import find_stack
from layerlimits.types import Variant

# Allowed rounding difference between logits, as a fraction of the largest one.
_ROUNDING = {"float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
# Layers of each kind that the trial in float32 copies; with fewer layers in all, it copies the first ones, too.
_OF_EACH_KIND, _FEWEST_LAYERS = 2, 4
# Tokens of the texts of a tree that are read before it.
_ROOT_TOKENS = 4


@dataclass(frozen=True)
class Trial:
    """Result of the trial.

    Args:
        refusal: why rows of the model cannot share layers; None if they can.
        token_bytes: memory of the keys and values of one token, in bytes.
        trees: whether the model can read texts as trees after a root. Models whose attention knows columns but not
            positions cannot.
    """

    refusal: str | None
    token_bytes: int = 0
    trees: bool = False


@torch.no_grad()
def run_trial(model: PreTrainedModel) -> Trial:
    """Check whether rows of a model can share layers.

    Two texts of different length go through four variants, fork, and decode one more token. The logits must equal those
    of the model with the layers removed. Architectures whose layers carry state between tokens, read the cache of other
    layers or need masks of another kind fail this trial.

    The rounding of a 16-bit type can hide such an error. If a model in a 16-bit type passes, a float32 copy of a few of
    its layers must pass as well.
    """
    trial = _compare(model)
    if trial.refusal or model.dtype == torch.float32:
        return trial
    exact = _compare(_few_layers(model))
    return exact if exact.refusal else replace(trial, trees=trial.trees and exact.trees)


def _few_layers(model: PreTrainedModel) -> PreTrainedModel:
    """A float32 copy of the model with two layers of each kind, and at least four layers."""
    layers, types = find_stack(model).layers, getattr(model.config.get_text_config(), "layer_types", None)
    chosen = set(range(min(_FEWEST_LAYERS, len(layers))))
    kinds: dict[tuple[str, str], list[int]] = {}
    for number, layer in enumerate(layers):
        kinds.setdefault((type(layer).__name__, types[number] if types else ""), []).append(number)
    chosen |= {number for numbers in kinds.values() for number in numbers[:_OF_EACH_KIND]}
    with without_layers(model, [number for number in range(len(layers)) if number not in chosen]) as small:
        duplicate: PreTrainedModel = copy.deepcopy(small).float()
    return duplicate


def _compare(model: PreTrainedModel) -> Trial:
    """The trial of a model in its own number type."""
    depth, size = len(find_stack(model)), model.config.get_text_config().vocab_size
    variants = list(dict.fromkeys([(), (0,), (depth - 1,), tuple(range(depth // 2, depth - 1))]))
    texts = [[(7 * position + 3) % size for position in range(length)] for length in (11, 6)]
    try:
        shared, token_bytes = _shared(model, variants, texts)
    except Exception as error:
        # Layers of an unknown kind can raise anything when they are called with other rows.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return Trial(f"{type(model).__name__} cannot share layers between rows ({reason[:120]})")
    for number, variant in enumerate(variants):
        with without_layers(model, variant):
            for text, ids in enumerate(texts):
                logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0, -2:]
                stock = logits.float()
                # The engine refuses logits that are not finite; masked tokens are -inf in both.
                usable = stock.isfinite()
                if not bool(usable.any()):
                    continue
                difference, allowed = _difference(stock[usable], shared[number, text][usable], model.dtype)
                if not difference <= allowed:
                    name = type(model).__name__
                    return Trial(f"{name} gives different logits when rows share layers (difference {difference:.2g})")
    return Trial(None, token_bytes, _reads_trees(model, size))


def _difference(stock: Tensor, ours: Tensor, dtype: torch.dtype) -> tuple[float, float]:
    """The largest difference of logits, and the allowed one in this number type."""
    allowed = _ROUNDING[str(dtype).removeprefix("torch.")] * float(stock.abs().max() + 1)
    return float((stock.float() - ours.float()).abs().max()), allowed


def _reads_trees(model: PreTrainedModel, vocabulary: int) -> bool:
    """Whether texts that are read as a root and a tree have the logits that they have alone, with all layers and
    without one.
    """
    start = [(5 * position + 2) % vocabulary for position in range(9)]
    texts = [[*start, *([token % vocabulary] * length)] for token, length in ((7, 4), (11, 2), (13, 5))]
    (tree,) = trees_of([text[_ROOT_TOKENS:] for text in texts], sum(map(len, texts)))
    variants: list[Variant] = [(), (len(find_stack(model)) // 2,)]
    wanted = [(variant, 0, tree.branches[text].columns[-1]) for variant in (0, 1) for text in range(len(texts))]
    rows = Rows(model)
    try:
        with rows.opened():
            root = read_root(rows, start[:_ROOT_TOKENS], variants, Reading(len(start), lambda _: None))
            ours = torch.cat([logits for _, logits in read_trees(rows, [tree], variants, wanted, root)])
    except Exception:  # layers of an unknown kind can raise anything
        return False
    for number, (variant, _, _) in enumerate(wanted):
        with without_layers(model, variants[variant]):
            ids = torch.tensor([texts[number % len(texts)]], device=model.device)
            stock = model(input_ids=ids, use_cache=False).logits[0, -1]
        usable = stock.isfinite()
        if bool(usable.any()):
            difference, allowed = _difference(stock[usable], ours[number][usable], model.dtype)
            if not difference <= allowed:
                return False
    return True


def _shared(model: PreTrainedModel, variants: list[Variant], texts: list[list[int]]) -> tuple[Tensor, int]:
    """Logits of the last two positions, the last one decoded, (variants, texts, 2, V); and the bytes of a token."""
    rows = Rows(model)
    chosen = [(variant, text) for variant in range(len(variants)) for text in range(len(texts))]
    wanted = [(variant, text, len(texts[text]) - 2) for variant, text in chosen]
    longest = max(map(len, texts))
    with rows.opened():
        slices, prefilled = read(rows, [text[:-1] for text in texts], variants, wanted, longest)
        before = torch.cat([logits for _, logits in slices])
        pool = Pool(prefilled.has_layer[:, :0], torch.empty(0, dtype=torch.long), longest, prefilled.device)
        pool.add(prefilled, torch.arange(len(texts), prefilled.size))
        ids = torch.tensor([[texts[text][-1]] for _, text in chosen], device=model.device)
        positions = torch.tensor([[len(texts[text]) - 1] for _, text in chosen], device=model.device)
        last = torch.arange(pool.size), torch.zeros(pool.size, dtype=torch.long)
        after = torch.cat([logits for _, logits in rows.logits(pool, ids, positions, longest, last)])
    both: Tensor = torch.stack([before, after], 1).unflatten(0, (len(variants), len(texts)))
    return both, pool.row_bytes // longest
