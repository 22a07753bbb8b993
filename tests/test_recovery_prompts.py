"""Training rows contain the evaluator's prompts, for every task format."""

from dataclasses import replace
from pathlib import Path

import pytest
from choice_rows import choice_folder

from layerlimits.engines.scripted import ScriptedEngine
from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.options import AskOptions
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.recovery.answers import generate_answers
from layerlimits.recovery.data import training_prompts
from layerlimits.recovery.rows import IGNORED, to_rows
from layerlimits.tasks import choose
from layerlimits.types import Response, Task

# A generation task; choices as plain options and as a benchmark's pairs; both choices asked freely.
_TASKS = ("word_problems", "facts_choice", "facts_choice@free", "arc_easy", "arc_easy@free")
_PAIRS = "arc_easy"


def recorder(loaded: Loaded, folder: Path, chat: bool | None) -> tuple[Evaluator, list[list[int]]]:
    """An evaluator whose engine records its prompts and answers all of them."""
    fed: list[list[int]] = []
    # Prompts with examples are longer than the small model's positions.
    loaded.model.config.max_position_embeddings = 4096

    def respond(prompt: list[int]) -> Response:
        fed.append(prompt)
        return Response("so it is", (5, 6), "stop")

    return Evaluator(loaded, Store(folder), AskOptions(chat=chat), ScriptedEngine(respond)), fed


def trained_prompts(evaluator: Evaluator, tasks: list[Task], data: Path) -> list[list[int]]:
    """The prompt ids of the training rows of up to five items."""
    examples = generate_answers(evaluator, training_prompts(tasks, 5, data), 8).examples
    tokenizer = evaluator.loaded.tokenizer
    rows = to_rows(tokenizer, tokenizer.eos_token_id, examples, 10_000)
    return [[token for token, label in zip(*row.values(), strict=True) if label == IGNORED] for row in rows]


@pytest.mark.parametrize(
    ("template", "chat"), [(True, None), (True, True), (True, False), (False, None), (False, False)]
)
@pytest.mark.parametrize("shots", [0, 2])
@pytest.mark.parametrize("name", _TASKS)
def test_rows_are_what_the_evaluator_feeds(
    name: str, shots: int, template: bool, chat: bool | None, loaded: Loaded, tmp_path: Path
) -> None:
    if not template:
        loaded.tokenizer.chat_template = None
    data = choice_folder(tmp_path / "data", _PAIRS, items=4, examples=40)
    tasks = choose([name], shots=shots, chat=chat)
    evaluator, fed = recorder(loaded, tmp_path / "run", chat)
    trained = trained_prompts(evaluator, tasks, data)
    assert trained
    assert all(trained)
    # The answers were generated with the prompts used for training.
    assert sorted(trained) == sorted(fed)
    if name != _PAIRS:
        # And these are the prompts of the task itself, which evaluates through the same evaluator.
        samples = [sample for task in tasks for sample in task.samples("train", 5 + shots, data)]
        prompts = [evaluator.prompt(tasks[0], sample).ids for sample in samples]
        assert all(prompt in prompts for prompt in trained)
    text = loaded.tokenizer.decode(trained[0])
    # Each example is a turn, or a question with its answer on the next line and an empty line after it.
    with_template = template and chat is not False
    assert text.count("<|user|>") == (shots + 1 if with_template else 0)
    if not with_template:
        empty_lines = training_prompts(tasks, 1, data)[0].prompt.count("\n\n")
        assert text.count("\n\n") == shots + (shots + 1) * empty_lines


@pytest.mark.parametrize("shots", [0, 2])
def test_a_benchmarks_choices_are_asked_as_their_question(shots: int, loaded: Loaded, tmp_path: Path) -> None:
    data = choice_folder(tmp_path / "data", _PAIRS, items=4, examples=40)
    evaluator, _ = recorder(loaded, tmp_path / "run", chat=False)
    samples = training_prompts(choose([_PAIRS], shots=shots), 5, data)
    (task,) = choose([_PAIRS])
    items = task.samples("train", 5 + shots, data)
    written = loaded.tokenizer.decode(evaluator.prompt(task, samples[0]).ids)
    shown = "".join(f"{item.prompt}\n{item.target}\n\n" for item in items[:shots])
    assert written == f"{shown}{items[shots].prompt}\n"
    assert not {sample.prompt for sample in samples} & {item.prompt for item in items[:shots]}


def test_an_item_is_never_its_own_example(tmp_path: Path) -> None:
    for name in ("word_problems", "facts_choice", "facts_choice@free"):
        samples = training_prompts(choose([name], shots=3), 6, tmp_path)
        assert len(samples) == 6
        assert all(len(sample.shots) == 3 for sample in samples)
        assert not any(sample.prompt in dict(sample.shots) for sample in samples)


def test_an_empty_prompt_is_refused_before_the_model_answers(loaded: Loaded, tmp_path: Path) -> None:
    evaluator, fed = recorder(loaded, tmp_path / "run", chat=None)
    loaded.tokenizer.chat_template = "{{ '' }}"
    samples = training_prompts(choose(["facts"]), 2, None)
    with pytest.raises(UserError, match="leaves out the text of the question"):
        generate_answers(evaluator, samples, 8)
    blank = [replace(sample, prompt=" ") for sample in samples]
    with pytest.raises(UserError, match="a training prompt has 0 tokens"):
        generate_answers(evaluator, blank, 8)
    assert fed == []
