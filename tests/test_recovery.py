"""Recovery: training prompts, their answers, and the training rows."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recovery_models import EXAMPLES, QUESTIONS, WORDS, example, listed, prompts

from layerlimits.errors import UserError
from layerlimits.evaluation.evaluator import Evaluator
from layerlimits.evaluation.prompts import encode
from layerlimits.evaluation.store import Store
from layerlimits.models.load import Loaded
from layerlimits.recovery.answers import Answers, generate_answers, self_generated
from layerlimits.recovery.data import Example, answer_limit, training_prompts
from layerlimits.recovery.rows import IGNORED, end_of_turn, to_rows, training_order
from layerlimits.reference.tokenizer import build
from layerlimits.types import Response, Sample

pytest_plugins = ["recovery_fixtures"]


def test_training_prompts_are_even_open_and_unique() -> None:
    choice = Sample("which?", "a", "train", choices=("a", "b"))
    tasks = [
        listed("long", prompts("a1", "a2", "a3", "a4", "a5", "a6")),
        listed("short", prompts("b1")),
        listed("same", [*prompts("a1"), choice, replace(choice, choices=("a", "c")), *prompts("c2")]),
    ]
    drawn = training_prompts(tasks, 6, None)
    assert [sample.prompt for sample in drawn] == ["a1", "b1", "a2", "which?", "a3", "a4"]
    assert all(sample.choices == () for sample in drawn)
    assert drawn == training_prompts(tasks, 6, None)
    assert len({sample.id for sample in training_prompts(tasks, 100, None)}) == 9


def test_training_prompts_refuses_nothing() -> None:
    with pytest.raises(UserError, match="no training prompts: the train split of void is empty"):
        training_prompts([listed("void", [])], 5, None)
    with pytest.raises(UserError, match="cannot train on 0 prompts"):
        training_prompts([listed("one", prompts("a"))], 0, None)


def test_an_item_without_a_question_or_an_example_without_a_prompt_is_refused() -> None:
    with pytest.raises(UserError, match="a training item of blank has no question"):
        training_prompts([listed("blank", prompts("a", " \n"))], 5, None)
    with pytest.raises(UserError, match="a training prompt has 0 tokens"):
        Example((), "answer", 1)


def test_the_length_of_answers_comes_from_tasks_that_are_answered_freely() -> None:
    generation, choice = listed("generation", []), replace(listed("choice", []), kind="choice", max_new_tokens=0)
    one_token = replace(generation, protocol="one_token", max_new_tokens=1)
    assert answer_limit([choice, replace(generation, max_new_tokens=500), generation]) == 500
    assert answer_limit([choice]) == answer_limit([one_token]) == answer_limit([choice, one_token]) == 256


def test_self_generated_judges_the_end_only() -> None:
    task = self_generated(4)
    sample = Sample("q", "", "train")
    outcomes = [
        task.score(sample, response).outcome
        for response in (
            Response("ok", (1, 2), "stop"),
            Response("ok", (1,) * 4, "length"),
            Response(" ", (1,), "stop"),
        )
    ]
    assert outcomes == ["correct", "truncated", "no_answer"]
    assert task.version != self_generated(5).version
    with pytest.raises(UserError, match="max_new_tokens is 0"):
        self_generated(0)


def test_answer_keeps_what_is_finished_and_asks_once(taught: Loaded, tmp_path: Path) -> None:
    samples = prompts(*QUESTIONS)
    with Store(tmp_path) as store:
        evaluator = Evaluator(taught, store)
        assert generate_answers(evaluator, samples, 8) == Answers(EXAMPLES)
        assert generate_answers(evaluator, samples, 8) == Answers(EXAMPLES)
        assert evaluator.computed == len(samples)
        # "green" takes five tokens and the end: cut at five it is not finished, the four-letter words are.
        answers = generate_answers(evaluator, samples, 5)
        assert [example.answer for example in answers.examples] == ["red", "blue", "pink", "gold", "grey"]
        assert (answers.counts, answers.dropped) == ({"truncated": 1}, 1)
        with pytest.raises(UserError, match=r"none of the 6 answers can be used \(at most 2 tokens\): 6 truncated"):
            generate_answers(evaluator, samples, 2)


def test_rows_are_what_the_evaluator_feeds_and_end_the_turn(base: Loaded) -> None:
    tokenizer = base.tokenizer
    end = end_of_turn(base.model, tokenizer)
    rows = to_rows(tokenizer, end, EXAMPLES, 128)
    for question, answer, row in zip(QUESTIONS, WORDS, rows, strict=True):
        prompt = encode(tokenizer, Sample(question, "", "evaluate")).ids
        assert row["input_ids"][: len(prompt)] == prompt
        assert row["labels"][: len(prompt)] == [IGNORED] * len(prompt)
        assert row["labels"][len(prompt) :] == row["input_ids"][len(prompt) :]
        whole = f"<|bos|><|user|>{question}<|assistant|>{answer}<|end|>"
        assert tokenizer.decode(row["input_ids"]) == whole
        turns = [*Sample(question, "", "train").messages, {"role": "assistant", "content": answer}]
        assert row["input_ids"] == tokenizer.apply_chat_template(turns, return_dict=True)["input_ids"]


def test_rows_keep_the_prompt_where_a_template_rewrites_it() -> None:
    tokenizer = build()
    # A finished turn lacks the marker at the end of an open turn, as in templates of reasoning models.
    tokenizer.chat_template += "{%- if add_generation_prompt %}{{- 'think: ' }}{%- endif %}"
    prompt = tuple(encode(tokenizer, Sample("2+2", "", "evaluate")).ids)
    (row,) = to_rows(tokenizer, tokenizer.eos_token_id, [Example(prompt, "4", 1)], 128)
    assert tokenizer.decode(row["input_ids"]) == "<|bos|><|user|>2+2<|assistant|>think: 4<|end|>"
    assert [label for label in row["labels"] if label != IGNORED] == tokenizer("4<|end|>")["input_ids"]


def test_end_of_turn_is_the_templates_among_those_generation_stops_at(base: Loaded, monkeypatch: Any) -> None:
    tokenizer = build()
    user, end = tokenizer.convert_tokens_to_ids(["<|user|>", "<|end|>"])
    pad = tokenizer.pad_token_id
    for ends, expected in ((None, end), (end, end), ([pad, end], end), ([pad, user], user), ([pad], pad)):
        monkeypatch.setattr(base.model.generation_config, "eos_token_id", ends)
        assert end_of_turn(base.model, tokenizer) == expected
    monkeypatch.setattr(base.model.generation_config, "eos_token_id", None)
    tokenizer.eos_token = None
    with pytest.raises(UserError, match="no end-of-sequence token"):
        end_of_turn(base.model, tokenizer)


def test_long_rows_are_left_out() -> None:
    tokenizer = build()
    rows = to_rows(tokenizer, 4, [example("short", "a"), example("q" * 50, "a")], 20)
    assert len(rows) == 1
    with pytest.raises(UserError, match="none of the 1 examples fits in 5 tokens"):
        to_rows(tokenizer, 4, [example("short", "a")], 5)


@pytest.mark.parametrize(("count", "batch", "epochs"), [(1000, 8, 2), (7, 3, 5), (3, 8, 4), (8, 8, 3)])
def test_order_holds_each_row_each_epoch(count: int, batch: int, epochs: int) -> None:
    lengths = [10 + 7 * row % 101 for row in range(count)]
    order = training_order(lengths, batch, epochs, 0)
    assert order == training_order(lengths, batch, epochs, 0)
    assert sorted(order) == sorted([*range(count)] * epochs)
    if count == 1000:
        assert order != training_order(lengths, batch, epochs, 1)
        assert order[:1000] != order[1000:]
        padded = sum(
            batch * max(lengths[row] for row in order[start : start + batch]) for start in range(0, len(order), batch)
        )
        assert padded < 1.1 * sum(lengths) * epochs
