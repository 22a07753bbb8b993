"""Training data of the reference model: problems of the train split, packed into rows of tokens."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from layerlimits.reference.world import arithmetic, articles, brackets, functions, stories, things
from layerlimits.reference.world.problem import Problem, Split, split_of

_MAKERS: dict[str, Callable[[random.Random], Problem]] = {
    "arithmetic": arithmetic.family,
    "word_problems": stories.story,
    "functions": functions.function,
    "brackets": brackets.bracket_prefix,
    "summaries": articles.article,
    "inference_choice": things.inference,
}
TASKS = (*_MAKERS, "facts")
# Functions that assign a split, for tasks where it does not depend on the whole key.
_OWNERS: dict[str, Callable[[str], str | None]] = {"arithmetic": arithmetic.owner, "inference_choice": things.owner}
# Mean number of prompt and answer tokens per problem, used to express the recipe's shares in tokens.
_MEAN_TOKENS = {
    "arithmetic": 25,
    "word_problems": 170,
    "functions": 134,
    "brackets": 41,
    "summaries": 205,
    "inference_choice": 64,
    "facts": 37,
}
_IGNORED = -100


@dataclass(frozen=True)
class Rows:
    """Packed rows: `ids` (R, T) int64 and `labels` (R, T) int64, -100 except at answer tokens."""

    ids: Tensor
    labels: Tensor


class Mixture:
    """Problems drawn by the recipe's token shares. The same seed, step and shares always give the same rows."""

    def __init__(self, seed: int, tokenizer: PreTrainedTokenizerFast) -> None:
        self._seed = seed
        self._tokenizer = tokenizer
        self._facts = {split: things.facts(split, seed) for split in ("train", "select")}

    def problem(self, rng: random.Random, name: str, split: Split = "train") -> Problem:
        """A problem of the split. Arithmetic problems of GPT-3's set belong to no split."""
        if name == "facts":
            return rng.choice(self._facts[split])
        owner = _OWNERS.get(name, split_of)
        while True:
            problem = _MAKERS[name](rng)
            if owner(problem.key) == split:
                return problem

    def encode(self, problem: Problem) -> tuple[list[int], list[int]]:
        """Token ids of the prompt in the chat template, and of the answer with its end token."""
        text = f"<|bos|><|user|>{problem.prompt}<|assistant|>"
        question = self._tokenizer.encode(text, add_special_tokens=False)
        return question, self._tokenizer.encode(f"{problem.answer}<|end|>", add_special_tokens=False)

    def rows(self, step: int, rows: int, length: int, shares: dict[str, float]) -> Rows:
        """`rows` rows of `length` tokens. Problems are never split; the end of a row is padded."""
        rng = random.Random(f"{self._seed}-{step}")
        ids = torch.zeros(rows, length, dtype=torch.long)
        labels = torch.full((rows, length), _IGNORED)
        waiting = self._draw(rng, shares)
        for row in range(rows):
            position = 0
            while position + len(waiting[0]) + len(waiting[1]) <= length:
                question, answer = waiting
                middle, end = position + len(question), position + len(question) + len(answer)
                ids[row, position:end] = torch.tensor(question + answer)
                labels[row, middle:end] = ids[row, middle:end]
                position = end
                waiting = self._draw(rng, shares)
        return Rows(ids, labels)

    def _draw(self, rng: random.Random, shares: dict[str, float]) -> tuple[list[int], list[int]]:
        weights = [share / _MEAN_TOKENS[name] for name, share in shares.items()]
        name = rng.choices(list(shares), weights)[0]
        return self.encode(self.problem(rng, name))

    def held_out(self, name: str, count: int, length: int) -> Rows:
        """Rows of one select-split problem each, right-padded. Used to monitor training, never to train."""
        rng = random.Random(f"held-out-{name}")
        ids = torch.zeros(count, length, dtype=torch.long)
        labels = torch.full((count, length), _IGNORED)
        for row in range(count):
            question, answer = self.encode(self.problem(rng, name, "select"))
            end = len(question) + len(answer)
            ids[row, :end] = torch.tensor(question + answer)
            labels[row, len(question) : end] = ids[row, len(question) : end]
        return Rows(ids, labels)
