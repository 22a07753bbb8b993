"""Training prompts from datasets: Alpaca, GSM8K, OpenThoughts, Dolci and other formats, from files and the hub."""

import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from layerlimits import jsonl
from layerlimits.errors import UserError
from layerlimits.hub import first_rows
from layerlimits.paths import given_path
from layerlimits.recovery.data import check_limit
from layerlimits.types import Sample

# Columns with a question, and those that can have its answer, in the order of preference.
_QUESTIONS = {
    "question": ("answer",),
    "problem": ("solution", "deepseek_solution", "answer"),
    "prompt": ("response", "completion", "answer"),
}
_CONVERSATIONS = ("messages", "conversations")
# Names of the speakers in conversations.
_USERS, _ASSISTANTS = ("user", "human"), ("assistant", "gpt")
# Calculator annotations in the answers of GSM8K: 16-3 = <<16-3=13>>13.
_CALCULATOR = re.compile(r"<<[^<>]*>>")


def instruction_prompts(source: str | Path, limit: int) -> list[Sample]:
    """The first `limit` distinct prompts of a dataset with the answers that they come with; blank prompts are skipped.

    Args:
        source: A `.jsonl` file, or a dataset, a hub id (such as "tatsu-lab/alpaca") or folder, as "id", "id:split" or
            "id:configuration:split"; the default split is "train". Its columns are `instruction`, `input` (after a
            blank line) and `output`, as in Alpaca; `question` and `answer`, as in GSM8K; `problem` and `solution`;
            `prompt`, a text or a list of messages, and `response` or `completion`; or `messages` or `conversations`, as
            in Dolci and OpenThoughts. Of messages, the first one of the user is the prompt, and the first one of the
            assistant its answer.
        limit: Maximum number of prompts.

    Raises:
        UserError: `limit` is below 1, the source cannot be read or has other columns, or all prompts are blank.
    """
    check_limit(limit)
    file = given_path(source, "the instruction dataset")
    seen: set[str] = set()

    def pick(row: jsonl.Row, where: str = "") -> Sample | None:
        try:
            prompt, answer = (text.strip() for text in _texts(row))
        except (KeyError, TypeError, AttributeError):
            raise UserError(
                f"{where or f'dataset {source}'} is not an instruction: it has the columns {', '.join(row) or 'none'}",
                "use texts named instruction (and input), question, problem or prompt, or a list of messages named "
                "messages or conversations",
            ) from None
        sample = Sample(prompt, answer, "train")
        if not prompt or sample.id in seen:
            return None
        seen.add(sample.id)
        return sample

    if file.is_file() or file.suffix == ".jsonl":
        picked = (pick(row, f"{file}, line {number}") for number, row in jsonl.rows(file))
        prompts = list(islice((sample for sample in picked if sample), limit))
    else:
        prompts = first_rows(str(source), limit, pick, "use a local .jsonl file or a folder of data files")
    if not prompts:
        raise UserError(f"no training prompts: {source} has no prompt that is not blank", "use another dataset")
    return prompts


def _texts(row: jsonl.Row) -> tuple[str, str]:
    """The prompt of a row, and its answer, empty if there is none.

    Raises:
        KeyError, TypeError, AttributeError: The row has other columns, or columns of other types.
    """
    if "instruction" in row:
        parts = [row["instruction"].strip(), (row.get("input") or "").strip()]
        return "\n\n".join(filter(None, parts)), row.get("output") or ""
    for name in _CONVERSATIONS:
        if row.get(name) is not None:
            return _first_turns(row[name])
    # A row without any of these columns has no `prompt` either, which raises.
    name = next((column for column in _QUESTIONS if row.get(column) is not None), "prompt")
    answer = next((row[column] for column in _QUESTIONS[name] if row.get(column)), "")
    if isinstance(row[name], str):
        return row[name], _CALCULATOR.sub("", answer)
    prompt, given = _first_turns(row[name])
    return prompt, given or answer


def _first_turns(turns: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The first texts of the user and of the assistant; an empty text if one says nothing.

    Raises:
        KeyError, TypeError: A turn has other keys, or is not an object.
    """
    said = [(turn["role"], turn["content"]) if "role" in turn else (turn["from"], turn["value"]) for turn in turns]
    user, assistant = (
        next((text for speaker, text in said if speaker in speakers), "") for speakers in (_USERS, _ASSISTANTS)
    )
    return user, assistant
