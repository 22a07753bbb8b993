"""Log-likelihoods of continuations for many variants: texts that share their start are read as trees."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from layerlimits.engines import Recorder
from layerlimits.engines._decoder import Bounds, passes
from layerlimits.engines._finite import naming_variants
from layerlimits.engines._forks import Reading, Root, read, read_trees
from layerlimits.engines._roots import Family, families, read_root
from layerlimits.engines._rows import Rows
from layerlimits.engines._trees import Tree, separate, trees_of
from layerlimits.models.finite import gathered
from layerlimits.types import Continuation, Variant

# Trees pay if they save at least this part of the tokens: texts that share nothing need no mask.
_MIN_SAVED_FRAC = 0.1
# Fewest variants that share a pass with the base, which every pass computes.
_MIN_TOGETHER = 11

Sums = list[tuple[float, bool]]


def shared_loglikelihoods(
    opened: Rows,
    variants: Sequence[Variant],
    rows: Sequence[Continuation],
    bounds: Bounds,
    recorder: Recorder,
    first: int,
    *,
    trees: bool,
) -> list[Sums]:
    """Log-likelihood of each continuation after its context in nats, and whether greedy decoding would write it,
    [variant][row].

    Args:
        opened: the opened model.
        variants: the removed layers of each.
        rows: contexts and continuations.
        bounds: limits on memory and work.
        recorder: is told of each row, and of each pass.
        first: index in the call of the first of the variants.
        trees: whether the model can read trees.
    """
    results = [[(0.0, False)] * len(rows) for _ in variants]

    def working(_: float = 1.0) -> None:
        recorder.working(lambda: ())

    for family in _families(rows, bounds) if trees else [Family(0, [*range(len(rows))])]:
        start = rows[family.texts[0]][0][: family.shared]
        root = read_root(opened, start, variants, Reading(bounds.tokens, working)) if start else None
        members = [(rows[row][0][family.shared :], rows[row][1]) for row in family.texts]
        texts = [*map(_text, members)]
        for part, columns in _passes(
            opened, variants, members, _arranged(texts, bounds) if trees else separate(texts), bounds, root
        ):
            for number, sums in zip(part, columns, strict=True):
                for member, value in sums.items():
                    results[number][family.texts[member]] = value
                    recorder.finished(first + number, family.texts[member], value)
            working()
    return results


def _text(row: Continuation) -> list[int]:
    """The tokens that are read: all but the last, which is only predicted."""
    context, continuation = row
    return (context + continuation)[:-1]


def _families(rows: Sequence[Continuation], bounds: Bounds) -> list[Family]:
    """The rows in families; the last token of a context predicts, so it is not in a root."""
    limits = [len(context) - 1 for context, _ in rows]
    return families([*map(_text, rows)], limits, lambda texts: sum(map(len, _arranged(texts, bounds))))


def _passes(
    opened: Rows,
    variants: Sequence[Variant],
    rows: Sequence[Continuation],
    trees: Sequence[Tree],
    bounds: Bounds,
    root: Root | None,
) -> Iterator[tuple[range, list[dict[int, tuple[float, bool]]]]]:
    """Variants and the log-likelihoods of some rows, [variant][row], after each pass."""
    # The base itself is read by its own rows.
    reading = 1 + sum(bool(variant) for variant in variants)
    for group in passes([len(tree) for tree in trees], reading, bounds):
        chosen = [trees[number] for number in group]
        for part in _parts(variants, sum(map(len, chosen)), bounds):
            yield part, _read(opened, [variants[number] for number in part], chosen, rows, root)


def _arranged(texts: Sequence[list[int]], bounds: Bounds) -> list[Tree]:
    """The texts in trees if that saves enough, else one by one."""
    trees = trees_of(texts, bounds.tree_tokens)
    saves = sum(map(len, trees)) <= (1 - _MIN_SAVED_FRAC) * sum(map(len, texts))
    return trees if saves else separate(texts)


def _parts(variants: Sequence[Variant], tokens: int, bounds: Bounds) -> Iterator[range]:
    """The variants, in parts that read this many tokens in one pass."""
    size = max(_MIN_TOGETHER, bounds.tokens // tokens - 1)
    for start in range(0, len(variants), size):
        yield range(start, min(start + size, len(variants)))


def _read(
    opened: Rows,
    variants: Sequence[Variant],
    trees: Sequence[Tree],
    rows: Sequence[Continuation],
    root: Root | None,
) -> list[dict[int, tuple[float, bool]]]:
    """The log-likelihoods of the rows of some trees that follow a root, [variant][row]."""
    # The columns that predict the tokens of a continuation; texts share those of their shared tokens.
    predicting = {
        (tree, row): branch.columns[len(rows[row][0]) - 1 :]
        for tree, member in enumerate(trees)
        for row, branch in member.branches.items()
    }
    nodes = sorted({(tree, column) for (tree, _), columns in predicting.items() for column in columns})
    place = {node: number for number, node in enumerate(nodes)}
    targets = [
        (place[tree, column], token)
        for (tree, row), columns in predicting.items()
        for column, token in zip(columns, rows[row][1], strict=True)
    ]
    wanted = [(variant, *node) for variant in range(len(variants)) for node in nodes]
    if root is None and all(len(tree.branches) == 1 for tree in trees):
        slices, _ = read(opened, [tree.tokens for tree in trees], variants, wanted)
    else:
        slices = read_trees(opened, trees, variants, wanted, root)
    logprobs, greedy = _gathered(slices, [variants[number] for number, _, _ in wanted], targets, len(nodes))
    sizes = [len(columns) for columns in predicting.values()]
    return [
        {
            row: (float(values.sum()), bool(likeliest.all()))
            for (_, row), values, likeliest in zip(
                predicting, logprobs[number].split(sizes), greedy[number].split(sizes), strict=True
            )
        }
        for number in range(len(variants))
    ]


def _gathered(
    slices: Iterator[tuple[slice, Tensor]],
    variants: Sequence[Variant],
    targets: Sequence[tuple[int, int]],
    nodes: int,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of target tokens, float32, and whether they are the likeliest ones; (variants, targets) each.

    Args:
        slices: slices of the logits, which are ordered by variant and node.
        variants: the variant of each row of logits.
        targets: (node, token) of each target.
        nodes: number of nodes.
    """
    count = len(variants) // nodes
    node, token = torch.tensor(targets, dtype=torch.long).unbind(1)
    row = (torch.arange(count)[:, None] * nodes + node).flatten()
    tokens = token.repeat(count)
    logprobs, greedy = torch.empty(len(row)), torch.empty(len(row), dtype=torch.bool)
    for part, logits in slices:
        here = ((row >= part.start) & (row < part.stop)).nonzero()[:, 0]
        with naming_variants(variants[part]):
            values, likeliest = gathered(
                logits, (row[here] - part.start).to(logits.device), tokens[here].to(logits.device)
            )
        logprobs[here], greedy[here] = values.cpu(), likeliest.cpu()
    return logprobs.view(count, -1), greedy.view(count, -1)
