"""Whole commands against an earlier commit: `python bench/before.py`.

`layerlimits evaluate` of 16 GSM8K items, `sweep` of 40 arc_easy and 40 winogrande items, and (`--work type`) the sweep
of 32 programs, in this machine's best number type and before in float32. Both are fresh processes, one after the
other; seconds include imports, loading and scoring.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from real import FOLDERS, cpu, model_folder
from runs import paired, saved

ROOT = Path(__file__).resolve().parents[1]
# The engine without prefix trees, with one transaction per batch.
COMMIT = "aae1f88"
WORKS = {
    "evaluate gsm8k": ["evaluate", "--tasks", "gsm8k", "--limit", "16"],
    "sweep of choices": ["sweep", "--tasks", "arc_easy,winogrande", "--limit", "40"],
    "type": ["sweep", "--tasks", "humanevalplus", "--limit", "32"],
}


@contextmanager
def checkout(commit: str) -> Iterator[Path]:
    """A folder with the files of a commit."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", folder, commit], cwd=ROOT, check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", folder], cwd=ROOT, check=True)


def run(root: Path, model: Path, work: str, data: Path, out: Path, *more: str) -> dict[str, Any]:
    """Run a command of the checkout in `root`; returns its results as JSON."""
    command, *flags = WORKS[work]
    asked = [sys.executable, "-m", "layerlimits", command, str(model), *flags, "--data-dir", str(data.resolve())]
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    done = subprocess.run(
        [*asked, "--out", str(out), "--json", *more], cwd=root, env=environment, check=True, stdout=subprocess.PIPE
    )
    results: dict[str, Any] = json.loads(done.stdout)
    return results


def main() -> None:
    """Run the selected commands in both checkouts, save and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="qwen2.5-coder-0.5b", help=", ".join(FOLDERS))
    parser.add_argument("--work", default="evaluate gsm8k,sweep of choices", help="also: type")
    parser.add_argument("--commit", default=COMMIT)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--tokens", type=int, help="longest program in tokens; default: the task's")
    parser.add_argument("--data-dir", type=Path, default=Path("../shared/data"))
    args = parser.parse_args()
    model = model_folder(args.model)
    with checkout(args.commit) as earlier:
        for work in args.work.split(","):
            for repeat in range(args.repeats):
                with tempfile.TemporaryDirectory() as folder:
                    out = Path(folder)
                    limit = ["--max-new-tokens", str(args.tokens)] if args.tokens and work == "type" else []
                    now = partial(run, ROOT, model, work, args.data_dir, out / "now", *limit)
                    old_type = ("--dtype", "float32", *limit)
                    before = partial(run, earlier, model, work, args.data_dir, out / "before", *old_type)
                    seconds, ours, _ = paired(now, before)
                row = {"model": args.model, "cpu": cpu(), "against": "before", "work": work, "limit": None}
                row |= {"dtype": ours.get("dtype"), "commit": args.commit, "run": seconds}
                print(json.dumps(saved(row, afresh=not repeat)), flush=True)


if __name__ == "__main__":
    main()
