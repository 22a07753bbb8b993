"""Use lm-evaluation-harness as a library: tokenization of pairs, tasks, and our engines as models of the harness.

This module is imported only where the harness is needed, because the import takes two seconds.
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
    """Suppress the warnings of the harness and the progress bars of `datasets` inside the block."""
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
    """Create the harness's task (a `ConfigurableTask`) for these rows, without few-shot examples.

    Its `task_docs` are the processed rows. The harness's index of all tasks is not built, because that takes seconds.

    Args:
        file: YAML file of the task, relative to the harness's folder of tasks.
        rows: At least one row, with the columns of the dataset.
    """
    config = load_yaml(TASKS / file)
    for name in ("tag", "group"):
        config.pop(name, None)
    dataset = datasets.Dataset.from_list(list(rows))
    splits = {config.get("fewshot_split") or config["training_split"]: dataset.select([])}
    splits[config.get("test_split") or config["validation_split"]] = dataset
    with quiet():
        return ConfigurableTask(config={**config, "custom_dataset": lambda **_: datasets.DatasetDict(splits)})


class LikelihoodEngine(Interface):
    """The part of an engine that `EngineLM` needs."""

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        """See `Engine.loglikelihoods`."""


class EngineLM(TemplateLM):  # type: ignore[misc]  # lm_eval ships no types
    """One of our engines as a model of the harness: `lm_eval.simple_evaluate(model=EngineLM(...), tasks=[...])`.

    Tokenization and chat templates are those of the harness's HFLM, so that both models read the same tokens.

    Args:
        engine: The engine.
        tokenizer: The model's tokenizer.
        positions: Maximum number of tokens that the model can read; no limit if None.
        batch_size: Number of rows per call of the engine.
    """

    # Defaults of HFLM.
    add_bos_token = None
    custom_prefix_token_id = None
    chat_template_args: Mapping[str, Any] = {}

    eot_token_id = HFLM.eot_token_id
    prefix_token_id = HFLM.prefix_token_id
    tokenizer_name = HFLM.tokenizer_name
    tok_encode = HFLM.tok_encode
    apply_chat_template = HFLM.apply_chat_template

    def __init__(
        self,
        engine: LikelihoodEngine,
        tokenizer: PreTrainedTokenizerBase,
        positions: int | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self._engine, self._positions, self._batch_size = engine, positions, batch_size

    def _loglikelihood_tokens(
        self, requests: list[tuple[Pair, list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        rows = [(context, continuation) for _, context, continuation in requests]
        self._check(rows)
        # Rows of similar length share a batch.
        order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]) + len(rows[row][1]))
        results: dict[int, tuple[float, bool]] = {}
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            (column,) = self._engine.loglikelihoods([()], [rows[row] for row in batch])
            results |= zip(batch, column, strict=True)
        return [results[row] for row in range(len(rows))]

    def _check(self, rows: Sequence[Continuation]) -> None:
        # The last token is only predicted, not read.
        longest = max((len(context) + len(continuation) - 1 for context, continuation in rows), default=0)
        if self._positions is not None and longest > self._positions:
            raise UserError(
                f"an item has {longest} tokens, but the model has only {self._positions} positions",
                "use fewer few-shot examples, or remove the item; items are not truncated",
            )

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Not supported.

        Raises:
            UserError: Always.
        """
        raise UserError("tasks that need the likelihood of whole texts are not supported", "use the harness's model hf")

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Not supported.

        Raises:
            UserError: Always.
        """
        raise UserError(
            "tasks that need generated text are not supported here",
            "use a generation task of layerlimits, such as gsm8k",
        )


class _RecordingEngine:
    """An engine that records the rows it is given."""

    def __init__(self) -> None:
        self.rows: list[Continuation] = []

    def loglikelihoods(
        self, variants: Sequence[Variant], rows: Sequence[Continuation]
    ) -> list[list[tuple[float, bool]]]:
        self.rows += rows
        return [[(0.0, False)] * len(rows) for _ in variants]


def encode_pair(tokenizer: PreTrainedTokenizerBase, context: str, continuation: str) -> Continuation:
    """Encode a context and its continuation as lm-evaluation-harness does.

    Spaces at the end of the context are moved to the continuation, both are tokenized as one text, and an empty context
    becomes the start token.
    """
    engine = _RecordingEngine()
    request = Instance("loglikelihood", {}, (context, continuation), 0)
    EngineLM(engine, tokenizer).loglikelihood([request], disable_tqdm=True)
    return engine.rows[0]


def chat_text(tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]]) -> str:
    """Apply the model's chat template as the harness does, without system messages if the template rejects them."""
    with quiet():
        return str(EngineLM(_RecordingEngine(), tokenizer).apply_chat_template(messages))
