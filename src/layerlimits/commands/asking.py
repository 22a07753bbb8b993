"""How the commands that evaluate ask: which items, by which protocol, through which template, drawn how."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from layerlimits.commands.flags import words
from layerlimits.errors import UserError
from layerlimits.paths import given_path
from layerlimits.sampling import check_items
from layerlimits.tasks import check_sandbox, choose
from layerlimits.types import GREEDY, Decoding, Protocol, Sample, Task


@dataclass(frozen=True)
class Asking:
    """What `evaluate` and `sweep` are told of the tasks; `difference` in accuracy is what they should show.

    `whole` asks a benchmark's whole test set in the order of its file, as published scores do, also the items that
    other commands choose layers by.
    """

    tasks: str
    limit: int
    data_dir: Path | None = None
    protocols: str | None = None
    shots: int | None = None
    chat: bool | None = None
    decoding: Decoding = GREEDY
    unsafe: bool = False
    difference: float = 0.05
    whole: bool = False

    def items(self) -> list[tuple[Task, list[Sample]]]:
        """The tasks with their evaluation items.

        Raises:
            UserError: an unknown task or protocol, no items, settings that cannot work, or no sandbox where one is
                needed.
        """
        self._check()
        protocols = cast(tuple[Protocol, ...], words(self.protocols or ""))
        tasks = choose(words(self.tasks), protocols, self.shots, self.chat)
        check_sandbox(tasks, self.unsafe)
        found = [(task, self._samples(task)) for task in tasks]
        for task, samples in found:
            if not samples:
                raise UserError(f"{task.name} has no item to evaluate", "give a larger file, or leave the task out")
        return found

    def _samples(self, task: Task) -> list[Sample]:
        if not self.whole:
            return task.samples("evaluate", self.limit, self.data_dir)
        if not hasattr(task.samples, "whole"):
            raise UserError(
                f"{task.name} has no whole test set",
                "give benchmarks asked in their own way, such as gsm8k, with --whole",
            )
        found: list[Sample] = task.samples.whole(self.data_dir)
        return found[: self.limit]

    def _check(self) -> None:
        check_items(self.limit, "limit")
        if self.data_dir:
            given_path(self.data_dir, "--data-dir")
        if not 0 < self.difference <= 0.5:
            raise UserError(f"a difference of {self.difference:g} is not in 0..0.5", "write five points as 0.05")

    def evaluator(self) -> dict[str, Any]:
        """What the evaluator must know."""
        return {"chat": self.chat, "decoding": self.decoding, "unsafe": self.unsafe}
