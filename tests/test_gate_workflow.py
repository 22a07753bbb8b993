"""The example workflow of docs/ci: its commands run, and the job stops where the gate does not pass."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_verdict import study

from layerlimits.study.config import study_config

CI = Path(__file__).resolve().parents[1] / "docs" / "ci"
SOURCE = Path(__file__).resolve().parents[1] / "src"


def steps() -> dict[str, str]:
    """The commands of the workflow by name, in order, without the installation."""
    workflow: Any = yaml.safe_load((CI / "gate.yml").read_text())
    commands = (step for step in workflow["jobs"]["gate"]["steps"] if "run" in step)
    return {step["name"]: step["run"] for step in commands if step["name"] != "Install"}


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a job does: in bash, which stops at the first error."""
    program = folder / "bin" / "layerlimits"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m layerlimits "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(SOURCE),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    shell = ["bash", "-e", "-o", "pipefail", "-c", command]
    return subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_settings_are_those_of_a_study_and_the_workflow_names_their_files() -> None:
    config = study_config("quick", CI / "study.toml")
    assert config.require == ("generation>=0.9@0.05", "facts_choice>=0.8")
    assert list(steps()) == ["Measure", "Gate", "Prune"]
    assert ".github/workflows/study.toml" in steps()["Measure"]
    assert "--out runs/gate" in steps()["Measure"]


@pytest.mark.parametrize(("right", "status"), [(297, 0), (150, 1)])
def test_the_job_goes_on_only_if_the_gate_passes(right: int, status: int, tmp_path: Path) -> None:
    study(tmp_path / "runs" / "gate", {(1,): right})
    gated = run(f"{steps()['Gate']}\necho next step", tmp_path)
    assert gated.returncode == status, gated.stderr
    assert ("next step" in gated.stdout) == (status == 0)


@pytest.mark.slow
def test_the_whole_workflow_runs(tmp_path: Path) -> None:
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    settings = (CI / "study.toml").read_text()
    # Fewer items, and a requirement that these tell.
    settings = re.sub(r"limit = \d+", "limit = 40", settings)
    settings = re.sub(r"require = .*", 'require = ["generation>=0.2"]', settings)
    (workflows / "study.toml").write_text(settings)
    for command in steps().values():
        done = run(command, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "pruned" / "config.json").exists()
    assert (tmp_path / "runs" / "gate" / "report.html").exists()
