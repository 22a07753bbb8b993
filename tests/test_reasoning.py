"""Models that reason before they answer: recognized, given room to finish, judged by the answer alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_reasoning import GPT_OSS, PLAIN_CHAT, QWEN, R1, scripted, thinking_model

from layerlimits.chat import bind
from layerlimits.chat_options import ChatOptions
from layerlimits.evaluation.thinking import THINKING_TOKENS, thinks
from layerlimits.models.load import Loaded
from layerlimits.plugins import find
from layerlimits.reference.tokenizer import build
from layerlimits.results.comparisons import evaluate_results
from layerlimits.results.stored_answers import StoredAnswers
from layerlimits.results.truncation import truncation
from layerlimits.results.warnings import decided_by_truncation
from layerlimits.scoring import sandbox
from layerlimits.tasks import judged
from layerlimits.tasks._protocols import under
from layerlimits.types import Response, Sample, Task, Verdict

OFF = ChatOptions(args={"enable_thinking": False})
LONG = "Wait, is it so? Let me think about it again. I count to 7 and come back. " * 3


@pytest.mark.parametrize(
    ("template", "options", "expected"),
    [
        (QWEN, ChatOptions(), True),
        (QWEN, OFF, False),
        (R1, ChatOptions(), True),
        (GPT_OSS, ChatOptions(), True),
        (PLAIN_CHAT, ChatOptions(), False),
        (None, ChatOptions(), False),
    ],
)
def test_a_template_says_whether_a_model_thinks(template: Any, options: ChatOptions, expected: bool) -> None:
    tokenizer = build()
    tokenizer.chat_template = template
    bind(tokenizer, options)
    assert thinks(tokenizer) == expected
    assert not thinks(tokenizer, chat=False)


@pytest.mark.parametrize("template", [QWEN, R1, GPT_OSS])
def test_the_limit_lets_a_model_finish(template: str, loaded: Loaded, tmp_path: Path) -> None:
    """The thought is longer than the task's own limit, and the answer comes after it."""
    forms = {QWEN: "<think>{}</think>{}", R1: "{}</think>{}"}
    forms[GPT_OSS] = "<|channel|>analysis<|message|>{}<|end|><|start|>assistant<|channel|>final<|message|>{}"
    facts, model = find("tasks", "facts"), thinking_model(loaded, template)
    samples = facts.samples("evaluate", 6, None)
    right = {sample.prompt: sample.target for sample in samples}

    def script(prompt: str) -> str:
        target = next(target for question, target in right.items() if question in prompt)
        return forms[template].format(LONG, f"It is {target}.")

    assert len(LONG) > facts.max_new_tokens
    evaluator = scripted(model, tmp_path / "run", script)
    (verdicts,) = evaluator.verdicts([()], facts, samples)
    assert [verdict.outcome for verdict in verdicts] == ["correct"] * 6
    # With a limit of the user's own, the thought does not end: wrong, with a note, and the other answers stay.
    short = scripted(model, tmp_path / "run", script, max_new_tokens=100)
    (cut,) = short.verdicts([()], facts, samples)
    assert {(verdict.outcome, verdict.value, verdict.why) for verdict in cut} == {
        ("truncated", 0.0, "truncated while thinking")
    }
    assert evaluator.missing([()], facts, samples) == 0
    answers = StoredAnswers(short.store, loaded.ref, [short.described(facts, samples)])
    (score,) = evaluate_results(answers, "greedy", 0.05).scores
    assert (score.truncated, score.truncated_thinking, score.score.estimate) == (6, 6, 0.0)
    assert score.decodings == ("greedy max=100 thinking",)
    assert evaluator.described(facts, samples)["decodings"] == [f"greedy thinking={THINKING_TOKENS}"]


def test_answers_asked_in_two_ways_stand_side_by_side(loaded: Loaded, tmp_path: Path) -> None:
    facts, model = find("tasks", "facts"), thinking_model(loaded, QWEN)
    samples = facts.samples("evaluate", 4, None)
    ways = (ChatOptions(), OFF, ChatOptions("Be brief."), ChatOptions("Be brief.", {"enable_thinking": False}))
    prompts = set()
    for number, options in enumerate(ways):
        evaluator = scripted(model, tmp_path / "run", lambda prompt, n=number: f"answer {n}", options)
        evaluator.ask([()], [(facts, samples)])
        assert evaluator.computed == 4
        assert {response.text for response in evaluator.responses((), facts, samples)} == {f"answer {number}"}
        prompt = evaluator.prompt(facts, samples[0])
        assert ("Be brief." in prompt.text) == bool(options.system)
        assert prompt.text.endswith("</think>\n\n") == bool(options.args)
        prompts.add((prompt.hash, prompt.template))
    assert len(prompts) == 4
    assert len({template for _, template in prompts}) == 4


def test_a_prompt_that_opens_the_thought_makes_the_draft_no_answer(loaded: Loaded, tmp_path: Path) -> None:
    """Without its mark, a right draft would be taken for the answer."""
    facts, model = find("tasks", "facts"), thinking_model(loaded, R1)
    samples = facts.samples("evaluate", 3, None)
    right = {sample.prompt: sample.target for sample in samples}

    def script(prompt: str) -> str:
        return next(f"It is {target}" for question, target in right.items() if question in prompt)

    evaluator = scripted(model, tmp_path / "run", script)
    (verdicts,) = evaluator.verdicts([()], facts, samples)
    assert {(verdict.outcome, verdict.why) for verdict in verdicts} == {("no_answer", "ended while thinking")}
    # The stored response is what the model wrote.
    assert all(response.text.startswith("It is") for response in evaluator.responses((), facts, samples))


FUNCTION = "```python\ndef f(x):\n    return x + 3\n```"


@pytest.mark.parametrize(
    ("name", "target", "draft"),
    [
        ("facts", "red", "It is red."),
        ("arithmetic", "18", "18"),
        ("brackets", ")]", ")]"),
        ("functions", "def f(x): return x + 3", "def f(x): return x + 3"),
        ("summaries", "A storm hit the town.", "A storm hit the town."),
        ("xsum", "A storm hit the town.", "A storm hit the town."),
        ("gsm8k", "#### 18", "#### 18"),
        ("math500", "18", "\\boxed{18}"),
        ("gpt3_arithmetic", "18", "18"),
        ("humanevalplus", "", FUNCTION),
        ("mbppplus", "", FUNCTION),
    ],
)
def test_a_thought_that_never_ends_is_wrong_in_every_task(
    name: str, target: str, draft: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "enclosure", lambda: pytest.fail("a draft was run"))
    task: Task = find("tasks", name)
    meta = {"test": "assert f(1) == 4", "entry_point": "f", "question": "?"}
    sample = Sample("?", target, "evaluate", meta=meta)
    cut = Response(f"<think>{draft}", (1,) * 9, "length")
    ended = Response(f"<think>{draft}", (1,) * 9, "stop")
    first, second = judged(task, [(sample, cut), (sample, ended)])
    assert (first.outcome, first.value, first.why) == ("truncated", 0.0, "truncated while thinking")
    assert (second.outcome, second.value, second.why) == ("no_answer", 0.0, "ended while thinking")


def _answers(values: str, cut: str, text: Callable[[int], tuple[int, ...]]) -> list[tuple[Response, Verdict]]:
    """Answers with a value ("1" or "0") and a truncation ("x" or ".") each."""
    return [
        (
            Response("", text(number), "length" if mark == "x" else "stop"),
            Verdict("correct" if value == "1" else "wrong", float(value)),
        )
        for number, (value, mark) in enumerate(zip(values, cut, strict=True))
    ]


def _prose(number: int) -> tuple[int, ...]:
    return tuple((number + place * place) % 97 for place in range(60))


def test_one_token_of_a_reasoning_model_is_warned_of(loaded: Loaded, tmp_path: Path) -> None:
    task, model = under(find("tasks", "facts_choice"), "one_token"), thinking_model(loaded, QWEN)
    samples = task.samples("evaluate", 3, None)
    for options, warned in ((ChatOptions(), True), (OFF, False)):
        evaluator = scripted(model, tmp_path / "run", lambda _: "B", options)
        evaluator.ask([()], [(task, samples)])
        answers = StoredAnswers(evaluator.store, loaded.ref, [evaluator.described(task, samples)])
        remarks = evaluate_results(answers, "greedy", 0.05).warnings
        assert any("begins to think" in remark for remark in remarks) == warned


BASE = _answers("1" * 40, "." * 40, _prose)


@pytest.mark.parametrize(
    ("values", "cut", "text", "share", "decides"),
    [
        # All that is lost was cut off.
        ("1" * 20 + "0" * 20, "." * 20 + "x" * 20, _prose, 1.0, True),
        # Nothing that is lost was cut off.
        ("1" * 20 + "0" * 20, "x" * 5 + "." * 35, _prose, 0.0, False),
        # A quarter of the loss.
        ("1" * 20 + "0" * 20, "." * 35 + "x" * 5, _prose, 0.25, False),
        # Loops would never have ended: the loss is one of ability.
        ("1" * 20 + "0" * 20, "." * 20 + "x" * 20, lambda _: (5, 6) * 30, 0.0, False),
        # One item is no significant loss.
        ("1" * 39 + "0", "." * 39 + "x", _prose, 1.0, False),
        ("1" * 40, "." * 40, _prose, None, False),
    ],
)
def test_a_loss_by_truncation_is_flagged(
    values: str, cut: str, text: Callable[[int], tuple[int, ...]], share: float | None, decides: bool
) -> None:
    found = truncation(BASE, _answers(values, cut, text), 40)
    assert found.share == (None if share is None else pytest.approx(share))
    assert (found.base, found.other, found.decides) == (0, cut.count("x"), decides)


def test_a_first_model_that_is_cut_off_decides_nothing_about_the_other() -> None:
    found = truncation(_answers("1" * 10 + "0" * 30, "." * 20 + "x" * 20, _prose), BASE, 40)
    assert found.decides


def test_the_warning_names_the_tasks_and_models() -> None:
    class Row:
        task = "gsm8k"
        truncation = truncation(BASE, _answers("0" * 40, "x" * 40, _prose), 40)

    (warning,) = decided_by_truncation([("reverse without 3", Row()), ("random without 3", Row())])
    assert "The comparison on gsm8k mostly compares truncation" in warning
    assert "(reverse without 3, random without 3)" in warning
    assert "--max-new-tokens" in warning
