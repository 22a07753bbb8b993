"""docs/results.md and the JSON of real results have the same keys."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_runs import finished_study

from layerlimits.api import advise, gate, open_run, write_report
from layerlimits.results.document import PruneResults
from layerlimits.results.recovered import RecoverResults

DOC = Path(__file__).resolve().parents[1] / "docs" / "results.md"
FIGURE = {"estimate", "low", "high", "n"}
# Keys whose values are settings or names, not described one by one.
OPAQUE = {"study.config", "study.recovery[].settings", "gate.card"}

Says = Callable[..., Any]


def documented() -> set[str]:
    """Every documented key as a path: "study.tasks[].score", "evaluate.scores.<task>.low"."""
    keys: set[str] = set()
    command = prefix = ""
    for line in DOC.read_text().splitlines():
        if line.startswith("## "):
            command = prefix = line.removeprefix("## ").replace("`", "")
        elif line.startswith("### "):
            prefix = f"{command}.{line.removeprefix('### ').strip('`')}"
        elif line.startswith("| `"):
            names = re.findall(r"`([^`]+)`", line.split(" | ")[0])
            keys |= {f"{prefix}.{name}" for name in names}
    return keys


DOCUMENTED = documented()


def paths(value: Any, path: str) -> Iterator[str]:
    """The paths of all keys of a JSON value; keys of an object that is documented by a placeholder count as it."""
    if isinstance(value, list):
        for inner in value:
            if isinstance(inner, dict):
                yield f"{path}[]"
                yield from paths(inner, f"{path}[]")
    elif isinstance(value, dict) and set(value) != FIGURE and path not in OPAQUE:
        names = placeholders(path)
        for key, inner in value.items():
            name = names[0] if names else key
            yield f"{path}.{name}"
            yield from paths(inner, f"{path}.{name}")


def placeholders(path: str) -> list[str]:
    """The placeholder that stands for the keys of an object, as <task>."""
    children = {key.removeprefix(f"{path}.") for key in DOCUMENTED if key.startswith(f"{path}.")}
    return sorted({match[0] for child in children if (match := re.match(r"<\w+>", child))})


def leaves(keys: set[str]) -> set[str]:
    """Paths that no other path goes on from: what is above them follows."""
    return {key for key in keys if not above(key, keys)}


def above(key: str, keys: set[str]) -> bool:
    """Whether a path is the beginning of another: an empty object, or null in place of one, ends before it."""
    return any(other.startswith((f"{key}.", f"{key}[")) for other in keys)


def check(command: str, *results: dict[str, Any], absent: frozenset[str] = frozenset()) -> None:
    """Every key of the results is documented, and every documented key is in one of them, but for `absent` ones."""
    seen = {path for result in results for path in paths(json.loads(json.dumps(result)), command)}
    mine = {key for key in DOCUMENTED if key.startswith(f"{command}.")}
    assert mine
    assert {key for key in leaves(seen) - mine if not above(key, mine)} == set(), "not documented"
    assert leaves(mine) - seen == {f"{command}.{key}" for key in absent}, "documented, and not there"


def test_study(tmp_path: Path) -> None:
    finished_study(tmp_path)
    check("study", open_run(tmp_path).to_json())


def test_a_whole_study_reads_back_and_is_drawn(tmp_path: Path) -> None:
    finished_study(tmp_path)
    results = write_report(tmp_path)
    content = results.to_json()
    assert content["recovery"][0]["tasks"][0]["recovered"]["estimate"] == 12 / 20
    assert content["recovery"][0]["tasks"][0]["regained"]["estimate"] == pytest.approx((12 - 5) / (19 - 5))
    assert content["pruned"][0]["retention"]["estimate"] == pytest.approx(5 / 19)
    assert content["protocols"][0]["scores"]["free"]["estimate"] == 19 / 20
    assert len(content["samples"][0]["answers"]) == 3
    page = (tmp_path / "report.html").read_text()
    assert "No results yet" not in page
    assert results.answer in page.replace("&#39;", "'")
    assert "0.600" in page


def test_gate_and_advise(tmp_path: Path) -> None:
    finished_study(tmp_path)
    check("gate", gate(tmp_path).to_json())
    check("advise", advise(tmp_path).to_json())


def test_study_plan(says: Says, tiny: Path, tmp_path: Path) -> None:
    # Nothing is measured for a float32 checkpoint; test_number_types.py has another.
    absent = frozenset(f"dtype_rates[].{key}" for key in ("dtype", "rows", "gflops"))
    check("study --plan", says("study", tiny, "--plan", "--out", tmp_path / "run"), absent=absent)


def test_evaluate_and_sweep(says: Says, tiny: Path, tmp_path: Path) -> None:
    asked = (tiny, "--tasks", "facts_choice,facts", "--limit", 4, "--out", tmp_path)
    # No bundled task has further measures or parts, and arithmetic alone is asked by several protocols.
    absent = {f"{what}.<{each}>" for what, each in (("measures", "measure"), ("sets", "part"))}
    ways = says("evaluate", tiny, "--tasks", "facts_choice", "--limit", 4, "--protocol", "likelihood,one_token,free")
    plain = frozenset(f"scores.<task>.{key}" for key in absent)
    check("evaluate", says("evaluate", *asked), ways, absent=plain)
    swept = frozenset(f"{prefix}.{key}" for prefix in ("base.<task>", "sweep[].scores.<task>") for key in absent)
    check("sweep", says("sweep", *asked), absent=swept)


def test_compare(says: Says, tiny: Path) -> None:
    check("compare", says("compare", tiny, "reference", "--tasks", "facts_choice,facts", "--limit", 4))


def test_rank(says: Says, tiny: Path) -> None:
    check("rank", says("rank", tiny, "--method", "reverse"))
    # Nothing an untaught model answers is right, so this method has nothing to look at.
    several = says("rank", tiny, "--method", "reverse,random,chain_loss", "--items", 4, "--tasks", "facts_choice")
    check("rank of several methods", several)


def test_prune_and_methods(says: Says, tiny: Path, tmp_path: Path) -> None:
    check("prune", says("prune", tiny, "--remove", "1", "--out", tmp_path / "out"))
    check("methods", says("methods"))


def test_score(says: Says, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    item = json.dumps({"question": "What is 1 + 1?", "answer": "1 + 1\n#### 2"})
    for name in ("test", "train"):
        (folder / f"{name}.jsonl").write_text(item + "\n")
    (tmp_path / "answers.jsonl").write_text(json.dumps({"index": 0, "response": "#### 2"}) + "\n")
    # Parts and further measures are those of other benchmarks.
    parts = {f"items[].{part}" for part in ("set", "subject", "level", "entry_point", "measures.<measure>")}
    check(
        "score",
        says("score", "gsm8k", tmp_path / "answers.jsonl", "--data-dir", tmp_path / "data"),
        absent=frozenset(parts),
    )


def test_export_and_import(says: Says, tmp_path: Path) -> None:
    finished_study(tmp_path / "run")
    file = tmp_path / "study.layerlimits.gz"
    exported = says("export", tmp_path / "run", "--out", file)
    check("export and import", exported, says("import", file, "--out", tmp_path / "other"))


def test_recover() -> None:
    # The whole of it is run in test_tables.py; its document has the fields of what it prints.
    check("recover", RecoverResults("m", "p", "q", 1, 2, 3, 4.0).to_json())


def test_an_undocumented_key_and_a_missing_one_are_seen() -> None:
    content = PruneResults("m", "b", "x", "none", (), (), 1).to_json()
    check("prune", content)
    with pytest.raises(AssertionError, match="not documented"):
        check("prune", {**content, "new": 1})
    del content["kept"]
    with pytest.raises(AssertionError, match="not there"):
        check("prune", content)
