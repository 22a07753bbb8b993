"""Read access to the stored answers of a run by model and task, in the order of the items."""

from collections.abc import Sequence
from typing import Any

from layerlimits.errors import UserError
from layerlimits.evaluation.artifacts import Artifacts, Manifest, TaskRecord
from layerlimits.evaluation.store import Store
from layerlimits.results.figures import by_item
from layerlimits.types import ModelRef, Response, Verdict

Answers = dict[str, tuple[Response, Verdict]]


class StoredAnswers:
    """The stored answers to tasks by model; each is read from the database once.

    Args:
        store: The run folder.
        ref: The unpruned model.
        tasks: Records of the tasks: their items, and how each prompt was built.
    """

    def __init__(self, store: Store, ref: ModelRef, tasks: Sequence[TaskRecord]) -> None:
        self.store, self.ref = store, ref
        self.tasks = [task for task in tasks if task["kind"] != "text"]
        # Documents, whose perplexity is no score.
        self.texts = [task for task in tasks if task["kind"] == "text"]
        self._read: dict[tuple[str, str, str], Answers] = {}
        self._contents: dict[str, dict[str, dict[str, Any]]] = {}

    @classmethod
    def of_study(cls, store: Store) -> "StoredAnswers":
        """The answers of the study in a run folder.

        Raises:
            UserError: The folder does not contain a study.
        """
        artifacts = Artifacts(store)
        manifest, tasks = artifacts.manifest, artifacts.tasks
        if manifest is None or tasks is None:
            raise UserError(f"{store.folder} does not contain a study", "give the run folder of `layerlimits study`")
        return cls(store, _ref(manifest), tasks)

    @classmethod
    def of_run(cls, store: Store) -> "StoredAnswers":
        """The answers of the study, or of `evaluate` and `sweep`, in a run folder.

        Raises:
            UserError: The folder contains no answers to tasks.
        """
        artifacts = Artifacts(store)
        manifest, asked = artifacts.manifest, artifacts.asked
        if artifacts.tasks is not None or manifest is None:
            return cls.of_study(store)
        if not asked:
            raise UserError(
                f"{store.folder} has no answers to tasks",
                "give the run folder of `layerlimits study`, or that of `sweep` or `evaluate` (--out)",
            )
        return cls(store, _ref(manifest), asked)

    def at(self, stage: str) -> "StoredAnswers":
        """These answers, cut to the items that a stage measured; tasks that it did not measure are omitted."""
        tasks = [*self.tasks, *self.texts]
        counts = {task["name"]: task.get("counts", {}).get(stage, len(task["ids"])) for task in tasks}
        cut: list[TaskRecord] = [
            {**task, "ids": task["ids"][: counts[task["name"]]]} for task in tasks if counts[task["name"]]
        ]
        other = StoredAnswers(self.store, self.ref, cut)
        other._read, other._contents = self._read, self._contents
        return other

    def fingerprint(self, removed: Sequence[int]) -> str:
        """The fingerprint of the base model without the given layers."""
        return self.ref.without(tuple(removed)).fingerprint

    def answers(self, model: str, task: TaskRecord, draw: int = 0) -> list[tuple[Response, Verdict]] | None:
        """The answers of one draw to all evaluation items, in order; None if one is missing."""
        answers = self.read(model, task, draw)
        return [answers[item] for item in task["ids"]] if all(item in answers for item in task["ids"]) else None

    def read(self, model: str, task: TaskRecord, draw: int = 0) -> Answers:
        """The stored answers of one draw by item id; there are none of items that were not answered."""
        decoding = task["decodings"][draw]
        key = (model, task["name"], decoding)
        if key not in self._read:
            self._read[key] = self.store.answers(model, task, decoding)
        return self._read[key]

    def verdicts(self, model: str, task: TaskRecord) -> list[Verdict] | None:
        """The verdicts on all evaluation items, in order, draw after draw; None if one is missing."""
        answers = self.every_answer(model, task)
        return None if answers is None else [verdict for _, verdict in answers]

    def every_answer(self, model: str, task: TaskRecord) -> list[tuple[Response, Verdict]] | None:
        """The answers to all evaluation items, in order, draw after draw; None if one is missing."""
        found: list[tuple[Response, Verdict]] = []
        for draw in range(len(task["decodings"])):
            answers = self.answers(model, task, draw)
            if answers is None:
                return None
            found += answers
        return found

    def values(self, model: str, task: TaskRecord) -> list[float] | None:
        """The scores of all evaluation items, in order, each the mean over its draws; None if one is missing."""
        verdicts = self.verdicts(model, task)
        if verdicts is None:
            return None
        draws = by_item([verdict.value for verdict in verdicts], len(task["ids"]))
        return [sum(values) / len(values) for values in draws]

    def contents(self, task: str) -> dict[str, dict[str, Any]]:
        """The prompts and targets of a task's items by id."""
        if task not in self._contents:
            self._contents[task] = self.store.samples(task)
        return self._contents[task]

    def has_contents(self, task: TaskRecord) -> bool:
        """Whether the prompts and targets of all evaluation items are stored; an imported run has none."""
        return set(task["ids"]) <= self.contents(task["name"]).keys()


def _ref(manifest: Manifest) -> ModelRef:
    return ModelRef(manifest["model"], manifest["base_fingerprint"], manifest["revision"], (), manifest["dtype"])
