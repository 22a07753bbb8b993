"""The example of docs/extending.md, dropped into a copy of the package, is a method everywhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with the documented file in methods/, and nothing else changed."""
    place = tmp_path_factory.mktemp("source")
    shutil.copytree(
        ROOT / "src" / "layerlimits",
        place / "layerlimits",
        ignore=shutil.ignore_patterns("*.safetensors", "__pycache__"),
    )
    text = (ROOT / "docs" / "extending.md").read_text()
    code, *_ = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (place / "layerlimits" / "methods" / "toward_the_middle.py").write_text(code)
    return place


def _run(package: Path, *arguments: object) -> Any:
    ran = subprocess.run(
        [sys.executable, "-m", "layerlimits", *map(str, arguments), "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_it_is_listed_with_options_source_and_cost(extended: Path) -> None:
    listed = {entry["name"]: entry for entry in _run(extended, "methods")["methods"]}
    assert listed["toward_the_middle"]["options"] == {"power": 1}
    assert (listed["toward_the_middle"]["source"], listed["toward_the_middle"]["cost"]) == ("an example", "none")


def test_it_ranks(extended: Path, tiny: Path) -> None:
    ranked = _run(extended, "rank", tiny, "--method", "toward_the_middle:power=2", "--protect", 3)
    assert ranked["order"] == [2, 4, 1, 5, 0]
    assert ranked["method"] == "toward_the_middle:power=2"
    assert ranked["scores"][3] is None


def test_it_is_studied(extended: Path, tiny: Path, tmp_path: Path) -> None:
    settings = tmp_path / "study.toml"
    settings.write_text("select_items = 2\ncalibration_items = 8\nspeed_repeats = 3\n[recovery]\nkinds = []\n")
    results = _run(
        extended, "study", tiny, "--config", settings, "--methods", "toward_the_middle,reverse", "--ratios", "0.34",
        "--tasks", "facts_choice", "--limit", 4, "--out", tmp_path / "run",
    )  # fmt: skip
    assert {"toward_the_middle", "reverse"} == {row["method"] for row in results["methods"]}
    removed = {row["method"]: row["removed"] for row in results["pruned"]}
    assert removed == {"toward_the_middle": [2, 3], "reverse": [4, 5]}
