"""The stored answers of a run, as comparisons need them: by model and task, in the order of the items."""

from collections.abc import Sequence
from typing import Any

from layerlimits.errors import UserError
from layerlimits.evaluation.store import Store
from layerlimits.results.figures import by_item
from layerlimits.types import ModelRef, Response, Verdict

Answers = dict[str, tuple[Response, Verdict]]


class Book:
    """The stored answers of a run by model and task, read once each."""

    def __init__(self, store: Store) -> None:
        self.store = store
        manifest: dict[str, Any] | None = store.get("manifest")
        if manifest is None or store.get("tasks") is None:
            raise UserError(f"{store.folder} holds no study", "give the folder of a `layerlimits study`")
        self.tasks: list[dict[str, Any]] = store.get("tasks") or []
        self.manifest = made = manifest
        self.ref = ModelRef(made["model"], made["base_fingerprint"], made["revision"], (), made["dtype"])
        self._read: dict[tuple[str, str, str], Answers] = {}
        self._contents: dict[str, dict[str, dict[str, Any]]] = {}

    def fingerprint(self, removed: Sequence[int]) -> str:
        """The base model without these layers."""
        return self.ref.without(tuple(removed)).fingerprint

    def answers(self, model: str, task: dict[str, Any], draw: int = 0) -> list[tuple[Response, Verdict]] | None:
        """The answers to all evaluation items in order, of one draw; None where one is missing yet."""
        decoding = task["decodings"][draw]
        key = (model, task["name"], decoding)
        if key not in self._read:
            self._read[key] = self.store.answers(model, task, decoding)
        found = self._read[key]
        return [found[item] for item in task["ids"]] if all(item in found for item in task["ids"]) else None

    def verdicts(self, model: str, task: dict[str, Any]) -> list[Verdict] | None:
        """The verdicts on all evaluation items in order, draw after draw; None where one is missing yet."""
        found: list[Verdict] = []
        for draw in range(len(task["decodings"])):
            answers = self.answers(model, task, draw)
            if answers is None:
                return None
            found += [verdict for _, verdict in answers]
        return found

    def values(self, model: str, task: dict[str, Any]) -> list[float] | None:
        """The scores of all evaluation items in order, each the mean of its draws; None where one is missing yet."""
        verdicts = self.verdicts(model, task)
        if verdicts is None:
            return None
        draws = by_item([verdict.value for verdict in verdicts], len(task["ids"]))
        return [sum(values) / len(values) for values in draws]

    def contents(self, task: str) -> dict[str, dict[str, Any]]:
        """Prompt and target of a task's items by id."""
        if task not in self._contents:
            self._contents[task] = self.store.samples(task)
        return self._contents[task]

    def recovered(self) -> list[dict[str, Any]]:
        """The finetuned models."""
        return list((self.store.get("recovered") or {}).values())
