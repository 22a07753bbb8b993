"""One process of a training in several; started by `launch` through torchrun."""

import json
import logging
import os
import sys
import threading
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.models.load import load
from layerlimits.models.quiet import quiet
from layerlimits.recovery.context import TrainingContext
from layerlimits.recovery.launching import Job, read_job
from layerlimits.recovery.training import Training
from layerlimits.resources import is_out_of_memory
from layerlimits.stopping import Stopped, stoppable


def main(folder: Path) -> int:
    """Take part in the training whose job is in a folder; returns the exit status."""
    job, rank = read_job(folder), int(os.environ["RANK"])
    threading.Thread(target=_end_with_the_command, daemon=True).start()
    try:
        with stoppable(), quiet(logging.WARNING):
            _train(job, rank)
    except UserError as error:
        job.failure(rank).write_text(json.dumps({"problem": error.problem, "fix": error.fix}))
        return 1
    except RuntimeError as error:
        if is_out_of_memory(error):
            job.failure(rank).write_text(json.dumps({"problem": str(error)}))
        raise
    except Stopped as stopped:
        return stopped.status
    return 0


def _train(job: Job, rank: int) -> None:
    settings = job.settings
    # FSDP moves each part of the weights to its GPU itself.
    on_cpu = job.device == "cpu" or settings.fsdp
    loaded = load(job.model, dtype=job.dtype, device="cpu" if on_cpu else f"cuda:{os.environ['LOCAL_RANK']}")

    def on_progress(step: int, steps: int) -> None:
        if rank == 0:
            print("step", step, steps, flush=True)

    context = TrainingContext(on_progress, processes=settings.processes, save_to=job.trained)
    Training(loaded, (), job.rows, [], settings, Path(job.work), job.key, context).unmerged(job.at_once)


def _end_with_the_command() -> None:
    """End this process when the command that started it ends, however that happens."""
    # Not `sys.stdin`, whose lock would be held when this process ends.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
