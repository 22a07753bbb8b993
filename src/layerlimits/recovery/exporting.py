"""Training examples as a dataset of messages (JSON Lines), with the origin of every answer."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerlimits.errors import UserError
from layerlimits.paths import check_writable, given_path
from layerlimits.recovery.data import Example

OPTION = "the file of training answers (--save-answers)"


def check_export(file: Path, *, resumes: bool = False) -> Path:
    """Check that training answers can be written to a file that does not exist yet.

    Args:
        file: The file.
        resumes: Whether an interrupted command is repeated, which may have written the file.
    Raises:
        UserError: It exists, is not named .jsonl, or its folder is not writable.
    """
    path = given_path(file, OPTION, home=True)
    if path.suffix != ".jsonl":
        raise UserError(f"{file} is not named .jsonl", f"give a name that ends in .jsonl for {OPTION}")
    if path.exists() and not resumes:
        raise _exists(path)
    check_writable(path.parent, empty=False)
    return path


def export_examples(file: Path, examples: Sequence[Example], origin: dict[str, Any], decodings: Sequence[str]) -> None:
    """Write one line per example: `messages` in the format of chat datasets, and where the answer comes from.

    Args:
        file: The file.
        examples: The examples.
        origin: Values for every line, such as the fingerprint of the model that answered.
        decodings: How each draw was decoded; empty if the answers are those of the dataset.
    Raises:
        UserError: The file cannot be written, or exists with other contents.
    """
    lines = [_line(example, origin, decodings) for example in examples]
    text = "".join(line + "\n" for line in lines).encode()
    partial = file.with_name(f".{file.name}.partial")
    try:
        if file.exists():
            if file.read_bytes() != text:
                raise _exists(file)
            return
        partial.write_bytes(text)
        partial.replace(file)
    except OSError as error:
        raise UserError(f"failed to write {file}: {error}", f"choose another file for {OPTION}") from None


def _line(example: Example, origin: dict[str, Any], decodings: Sequence[str]) -> str:
    assert example.sample is not None
    row = {
        "messages": [*example.sample.messages, {"role": "assistant", "content": example.answer}],
        "id": example.sample.id,
        "finish": example.finish,
        "tokens": example.tokens,
        "draw": example.draw,
        "decoding": decodings[example.draw] if decodings else None,
        **origin,
    }
    return json.dumps(row, ensure_ascii=False)


def _exists(file: Path) -> UserError:
    return UserError(f"{file} already exists", f"choose another file for {OPTION}, or remove it first")
