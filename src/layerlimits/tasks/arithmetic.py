"""Three-operand arithmetic without working, as GPT-3's single_digit_three_ops (Brown et al., arXiv 2005.14165)."""

import json
import re
from pathlib import Path

from layerlimits.errors import UserError
from layerlimits.scoring import numbers
from layerlimits.tasks._world import drawn
from layerlimits.types import Sample, Split, Task
from layerlimits.world.arithmetic import owner, three_ops

_FILE = Path("arithmetic") / "single_digit_three_ops.jsonl"
_QUESTION = re.compile(r"Q: (.*?)\n")
_generated = drawn(three_ops, owner)


def _samples(split: Split, limit: int, data_dir: Path | None) -> list[Sample]:
    if data_dir is None or split != "evaluate":
        return _generated(split, limit, None)
    path = data_dir / _FILE
    if not path.exists():
        raise UserError(f"{data_dir} has no {_FILE}", "give the folder that holds it, or leave --data-dir out")
    items = [json.loads(line) for line in path.read_text().splitlines()[:limit]]
    return [_sample(item) for item in items]


def _sample(item: dict[str, str]) -> Sample:
    found = _QUESTION.search(item["context"])
    if not found:
        raise UserError(f"an item of {_FILE} asks no question: {item['context']!r}", "check the file")
    return Sample(found.group(1), item["completion"].strip(), "evaluate")


arithmetic = Task(
    name="arithmetic",
    version=1,
    kind="generation",
    samples=_samples,
    score=lambda sample, response: numbers.judge(response, sample.target, sample.prompt, marker=False),
    max_new_tokens=12,
    metric="exact match",
    scorer=2,
    letters=False,
    numeric=True,
    summary="three-operand arithmetic over the digits 1 to 9, answered without working",
)
