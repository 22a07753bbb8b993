"""Texts as trees of tokens: a stretch that several texts share from their start is computed once.

    texts                          tree          token   position   attends to
    the cat sat on a mat           the  cat ...  0..5    0..5       itself and what precedes it
    the cat sat on a hat           hat           6       5          0..4 and itself
    the cat ran                    ran           7       2          0, 1 and itself

The tokens of a tree are one row of a batch. A token has the position that it has in its text, and attends to the tokens
that precede it there, so that its states equal those in the text alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

# A text joins a tree if it shares at least this part of its tokens with the text before it.
_MIN_SHARED_FRAC = 0.25
# Attention in a tree takes time in proportion to the square of its size, also between tokens that do not attend to each
# other. A larger tree pays only while most of its tokens are shared ones, up to a multiple of the usual size.
_MAX_SHARES, _MAX_TIMES = 4, 8


@dataclass(frozen=True)
class Branch:
    """The tokens that a text adds to a tree.

    Args:
        start: column of the first of them.
        columns: the columns of all tokens of the text, in order (T,); the last ones, from `start` on, are new.
    """

    start: int
    columns: list[int]


@dataclass
class Tree:
    """Tokens of texts in columns.

    Args:
        tokens: the token of each column.
        positions: the position of each column in its texts.
        branches: the texts, by their numbers.
    """

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: dict[int, Branch] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)

    def add(self, number: int, text: Sequence[int], shared: list[int]) -> None:
        """Add a text whose first tokens are in the columns `shared`."""
        start = len(self.tokens)
        new = text[len(shared) :]
        self.tokens += new
        self.positions += range(len(shared), len(text))
        self.branches[number] = Branch(start, [*shared, *range(start, start + len(new))])


def trees_of(texts: Sequence[list[int]], max_tokens: int) -> list[Tree]:
    """Arrange texts in trees.

    Args:
        texts: token ids; not empty.
        max_tokens: size up to which a text joins a tree even if most tokens of the tree are not shared; eight times as
            many if they are.
    """
    trees: list[Tree] = []
    before: int | None = None
    # In sorted order, the text before shares more tokens with a text than any other text before it.
    for number in sorted(range(len(texts)), key=lambda number: texts[number]):
        text = texts[number]
        columns = [] if before is None else trees[-1].branches[before].columns
        shared = 0 if before is None else shared_length(text, texts[before])
        size = len(text) - shared + (len(trees[-1]) if trees else 0)
        joins = shared >= _MIN_SHARED_FRAC * len(text) and size <= max(
            max_tokens, min(_MAX_SHARES * shared, _MAX_TIMES * max_tokens)
        )
        if not joins:
            trees.append(Tree())
            columns, shared = [], 0
        trees[-1].add(number, text, columns[:shared])
        before = number
    return trees


def separate(texts: Sequence[Sequence[int]]) -> list[Tree]:
    """One tree per text."""
    trees = [Tree() for _ in texts]
    for number, (tree, text) in enumerate(zip(trees, texts, strict=True)):
        tree.add(number, text, [])
    return trees


def shared_length(text: Sequence[int], other: Sequence[int]) -> int:
    """Number of tokens that two texts share from their start."""
    pairs = zip(text, other, strict=False)
    return next((place for place, (one, two) in enumerate(pairs) if one != two), min(len(text), len(other)))


def inputs(trees: Sequence[Tree], device: torch.device, before: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids (N, T), positions (N, T), and which columns a column attends to, bool (N, T, B + T).

    Args:
        trees: N trees.
        device: where the tensors are needed.
        before: number B of tokens that come before every text and are already read.
    """
    width = max(map(len, trees))
    ids = torch.zeros(len(trees), width, dtype=torch.long)
    positions = torch.zeros(len(trees), width, dtype=torch.long)
    # Columns of padding attend to themselves: a softmax over nothing is not a number.
    attended = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1)
    for row, tree in enumerate(trees):
        ids[row, : len(tree)] = torch.tensor(tree.tokens)
        positions[row, : len(tree)] = torch.tensor(tree.positions)
        for branch in tree.branches.values():
            columns = torch.tensor(branch.columns)
            new = int((columns >= branch.start).sum())
            block = torch.ones(new, len(columns), dtype=torch.bool).tril(len(columns) - new)
            attended[row, branch.start : branch.start + new][:, columns] = block
    attended = torch.nn.functional.pad(attended, (before, 0), value=True)
    return ids.to(device), (before + positions).to(device), attended.to(device)
