"""Start the processes of a training by torchrun, follow them, and end them with the command."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from layerlimits.errors import UserError
from layerlimits.recovery.rows import Row, StepProgress
from layerlimits.recovery.settings import FinetuneConfig

_JOB, _ERRORS, _TRAINED = "job.json", "errors.txt", "trained"
# Seconds that the processes have for a last checkpoint when the command is stopped; torchrun itself waits for 30.
_ENDING_S = 60
# The line of a traceback that names the exception, and how many characters of it are shown.
_EXCEPTION = re.compile(r"(\[rank\d+\]: ?)?[\w.]+(Error|Exception)\b")
_ENOUGH = 300


@dataclass(frozen=True)
class Job:
    """What every process of a training is given.

    Args:
        model: Folder of the model to finetune.
        dtype: Its number type.
        device: "cpu", or "cuda": each process has the GPU of its own number.
        rows: Training rows.
        settings: Finetuning settings.
        key: Identifies the training.
        work: Folder of the checkpoints.
        at_once: Examples that all processes compute at once.
    """

    model: str
    dtype: str
    device: str
    rows: list[Row]
    settings: FinetuneConfig
    key: str
    work: str
    at_once: int

    @property
    def folder(self) -> Path:
        """Where the processes read their job and write their results."""
        return Path(self.work) / "processes"

    @property
    def trained(self) -> Path:
        """The folder of the trained weights or adapters."""
        return self.folder / _TRAINED

    def failure(self, rank: int) -> Path:
        """The file in which a process writes why it failed."""
        return self.folder / f"failure-{rank}.json"


def write_job(job: Job) -> None:
    """Write a job for its processes, in an empty folder."""
    rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    (job.folder / _JOB).write_text(json.dumps(asdict(job)))


def read_job(folder: Path) -> Job:
    """The job that `write_job` wrote in a folder."""
    values: dict[str, Any] = json.loads((folder / _JOB).read_text())
    settings = values["settings"] | {"lora_targets": tuple(values["settings"]["lora_targets"])}
    return Job(**(values | {"settings": FinetuneConfig(**settings)}))


def launch(job: Job, on_progress: StepProgress | None) -> None:
    """Train in `job.settings.processes` processes of this machine, and wait for them.

    The processes end with the command, also if it is killed; after a signal, they first write a checkpoint.

    Raises:
        UserError: The training failed, for the reason that a process gives.
        RuntimeError: Memory ran out.
    """
    write_job(job)
    with (job.folder / _ERRORS).open("wb") as errors, _running(job, errors) as process:
        assert process.stdout is not None
        for line in process.stdout:
            words = line.split()
            if words[:1] == ["step"] and on_progress:
                on_progress(int(words[1]), int(words[2]))
        status = process.wait()
    if status:
        raise _failure(job)


@contextmanager
def _running(job: Job, errors: Any) -> Iterator[subprocess.Popen[str]]:
    """The running processes, which are ended if the block is left by an exception."""
    processes = job.settings.processes
    command = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    threads = {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes))}
    process = subprocess.Popen(
        [sys.executable, *command, "-m", "layerlimits.recovery.worker", str(job.folder)],
        # The processes read this pipe, which ends when this process does.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=os.environ | threads,
        text=True,
        # A Ctrl-C in the terminal reaches this process only, which passes it on.
        start_new_session=True,
    )
    try:
        with process:
            try:
                yield process
            except BaseException:
                process.terminate()
                # Processes that take longer end when their pipe does.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_ENDING_S)
                raise
    finally:
        process.kill()


def _failure(job: Job) -> Exception:
    """Why a training failed."""
    for rank in range(job.settings.processes):
        if job.failure(rank).is_file():
            found: dict[str, str] = json.loads(job.failure(rank).read_text())
            return UserError(found["problem"], found["fix"]) if "fix" in found else RuntimeError(found["problem"])
    text = (job.folder / _ERRORS).read_text(errors="replace").strip()
    # torchrun's own error, that a process has failed, comes last.
    errors = [line for line in text.splitlines() if _EXCEPTION.match(line) and "ChildFailedError" not in line]
    reason = (errors or [text[-_ENOUGH:]])[0].strip()[:_ENOUGH]
    return UserError(
        f"a process of the training ended with {reason}",
        f"see {job.folder / _ERRORS}; repeat the command to resume, or set processes (--processes) to 1",
    )
