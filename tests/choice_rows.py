"""Made-up items of every choice benchmark, with the columns of its dataset."""

from pathlib import Path

from harness_tasks import Row, write_rows

from layerlimits.plugins import find
from layerlimits.types import Task

TASKS = ("arc_challenge", "arc_easy", "hellaswag", "mmlu", "openbookqa", "piqa", "winogrande")

_WORDS = ("apple", "brick", "cloud", "drum", "eagle", "fern", "glass", "hill", "ink", "jar", "kite", "lamp")


def _labelled(number: int, column: str) -> Row:
    texts = [f"{_WORDS[(number + step) % 12]} {number}" for step in range(3)]
    return {
        column: f"Which thing has number {number}?",
        "choices": {"text": texts, "label": ["A", "B", "C"]},
        "answerKey": "ABC"[number % 3],
    }


def row(task: str, number: int) -> Row:
    """The item of that number."""
    word, other = _WORDS[number % 12], _WORDS[(number + 5) % 12]
    match task:
        case "arc_easy" | "arc_challenge":
            return _labelled(number, "question")
        case "openbookqa":
            return _labelled(number, "question_stem")
        case "piqa":
            return {"goal": f"carry {number} jars", "sol1": f"use a {word}", "sol2": f"an {other}", "label": number % 2}
        case "winogrande":
            sentence = f"The {word} hit the {other}, so the _ was moved {number} times."
            return {"sentence": sentence, "option1": word, "option2": other, "answer": "12"[number % 2]}
        case "hellaswag":
            endings = [f"takes [x] the {_WORDS[(number + step) % 12]}." for step in range(4)]
            about = {"activity_label": "Moving", "ctx_a": f"A man holds {number} jars.", "ctx_b": "the man"}
            return {**about, "endings": endings, "label": str(number % 4)}
    subject = ("anatomy", "virology")[number // 2 % 2]
    choices = [f"{_WORDS[(number + step) % 12]}" for step in range(4)]
    return {"question": f" Which is {number}? ", "subject": subject, "choices": choices, "answer": number % 4}


def rows(task: str, numbers: range) -> list[Row]:
    """The items of those numbers."""
    return [row(task, number) for number in numbers]


def choice_folder(data: Path, name: str, items: int = 12, examples: int = 9, start: int = 0) -> Path:
    """Write made-up items that evaluate, and `examples` to show and train on if any; returns `data`."""
    asked = find("tasks", name).samples.benchmark
    write_rows(data / name / f"{asked.split}.jsonl", rows(name, range(start, start + items)))
    if examples:
        write_rows(data / name / f"{asked.train}.jsonl", rows(name, range(1000, 1000 + examples)))
        write_rows(data / name / f"{asked.examples}.jsonl", rows(name, range(500, 500 + examples)))
    return data


def asked_with(name: str, shots: int, chat: bool = False) -> Task:
    """The task with so many examples."""
    task: Task = find("tasks", name)
    assert task.variant
    return task.variant(shots, chat)
