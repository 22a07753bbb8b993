"""lm-evaluation-harness as a library: its tokenization of pairs, its tasks, and our engines as one of its models.

Only what needs the harness imports this module: it takes two seconds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import datasets
import lm_eval.tasks
from datasets.utils.logging import disable_progress_bar, enable_progress_bar, is_progress_bar_enabled
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks._yaml_loader import load_yaml
from transformers import PreTrainedTokenizerBase

from layerlimits.errors import UserError
from layerlimits.types import Continuation, Variant

Pair = tuple[str, str]

# The harness's own tasks, one YAML file each.
TASKS = Path(lm_eval.tasks.__file__).parent


@contextmanager
def quiet() -> Iterator[None]:
    """The harness without its warnings, and `datasets` without its bars: commands have a bar of their own."""
    logger = logging.getLogger("lm_eval")
    level, bars = logger.level, is_progress_bar_enabled()
    logger.setLevel(logging.ERROR)
    disable_progress_bar()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            enable_progress_bar()


def task_of(file: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """The harness's own task (a `ConfigurableTask`) on these rows, without examples to show; its `task_docs` are what
    it makes of the rows. Its index of all tasks, which takes seconds, is not built.

    Args:
        file: the task's YAML file, below the harness's folder of tasks.
        rows: at least one, with the columns of its data set.
    """
    config = load_yaml(TASKS / file)
    for name in ("tag", "group"):
        config.pop(name, None)
    asked = datasets.Dataset.from_list(list(rows))
    splits = {config.get("fewshot_split") or config["training_split"]: asked.select([])}
    splits[config.get("test_split") or config["validation_split"]] = asked
    with quiet():
        return ConfigurableTask(config={**config, "custom_dataset": lambda **_: datasets.DatasetDict(splits)})


class Weighs(Interface):
    """What is needed of an engine here."""

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """As `Engine.loglikelihoods`."""


class EngineLM(TemplateLM):  # type: ignore[misc]  # lm_eval ships no types
    """One of our engines as a model of the harness: `lm_eval.simple_evaluate(model=EngineLM(...), tasks=[...])`.

    What it shares with the harness's HFLM is HFLM's own, so that both read the same tokens.

    Args:
        positions: tokens the model reads at most; None: no limit.
        batch_size: rows the engine gets at once.
    """

    # How HFLM is set by default.
    add_bos_token = None
    custom_prefix_token_id = None
    chat_template_args: Mapping[str, Any] = {}

    eot_token_id = HFLM.eot_token_id
    prefix_token_id = HFLM.prefix_token_id
    tokenizer_name = HFLM.tokenizer_name
    tok_encode = HFLM.tok_encode
    apply_chat_template = HFLM.apply_chat_template

    def __init__(
        self, engine: Weighs, tokenizer: PreTrainedTokenizerBase, positions: int | None = None, batch_size: int = 64
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._engine, self._positions, self._batch_size = engine, positions, batch_size

    def _loglikelihood_tokens(
        self, requests: list[tuple[Pair, list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        rows = [(context, continuation) for _, context, continuation in requests]
        self._check(rows)
        # Rows of similar length together.
        order = sorted(range(len(rows)), key=lambda at: len(rows[at][0]) + len(rows[at][1]))
        found: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            (weighed,) = self._engine.loglikelihoods([()], [rows[at] for at in batch])
            found |= zip(batch, weighed, strict=True)
        return [found[at] for at in range(len(rows))]

    def _check(self, rows: Sequence[Continuation]) -> None:
        # The last token is not read.
        longest = max((len(context) + len(continuation) - 1 for context, continuation in rows), default=0)
        if self._positions is not None and longest > self._positions:
            raise UserError(
                f"an item takes {longest} tokens, and the model has {self._positions} positions",
                "ask fewer examples, or leave the item out: it would have to be cut",
            )

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Not offered.

        Raises:
            UserError: always.
        """
        raise UserError("the task asks for the likelihood of whole texts", "use the harness's own hf model for it")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Not offered.

        Raises:
            UserError: always.
        """
        raise UserError("the task asks for generated text", "use a generation task of layerlimits, such as gsm8k")


class _Rows:
    """An engine that keeps the rows it is asked."""

    def __init__(self) -> None:
        self.rows: list[Continuation] = []

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        self.rows += rows
        return [[(0.0, False)] * len(rows) for _ in variants]


def encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> Continuation:
    """Token ids of a context and its continuation, as lm-evaluation-harness splits them: spaces at the context's end
    go to the continuation, both are tokenized as one text, and an empty context is the token that begins texts.
    """
    kept = _Rows()
    request = Instance("loglikelihood", {}, (context, continuation), 0)
    EngineLM(kept, tokenizer).loglikelihood([request], disable_tqdm=True)
    return kept.rows[0]


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """Messages through the model's template as the harness does it: without the system's, where it takes none."""
    with quiet():
        return str(EngineLM(_Rows(), tokenizer).apply_chat_template(messages))
