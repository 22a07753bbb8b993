"""Thoughts and the turns of others are dropped in the same way by every scorer of generated text. About 3 s."""

import pytest

from layerlimits.plugins import find
from layerlimits.scoring import code, expressions, letters, numbers, sandbox, summaries, words
from layerlimits.scoring.transcript import own_answer
from layerlimits.tasks._protocols import under
from layerlimits.types import FinishReason, Response, Sample, Verdict

FUNCTION = "def f(x): return x + 3"
OPTIONS = ("Paris", "London", "Rome")


def _judged(scorer: str, response: Response) -> Verdict:
    probe = under(find("tasks", "facts_choice"), "one_token")
    questions = {
        "words": lambda: words.judge_words(response, "red"),
        "exact": lambda: words.judge_exact(response, ")]"),
        "marker": lambda: numbers.judge(response, "18", marker=True),
        "number": lambda: numbers.judge(response, "18", marker=False),
        "letter": lambda: letters.judge_letter(response, OPTIONS, "London"),
        "free letter": lambda: letters.judge_free(response, OPTIONS, "London"),
        "first token": lambda: probe.score(Sample("?", "red", "evaluate"), response),
        "function": lambda: expressions.judge(response, FUNCTION, (0, 5)),
        "summary": lambda: summaries.judge(response, "a storm hit the town"),
        "gsm8k": lambda: find("tasks", "gsm8k").score(Sample("?", "#### 18", "evaluate"), response),
        "math500": lambda: find("tasks", "math500").score(Sample("?", "18", "evaluate"), response),
    }
    verdict = questions[scorer]()
    assert isinstance(verdict, Verdict)
    return verdict


# A right answer and a wrong one for each scorer.
ANSWERS = {
    "words": ("It is red.", "It is blue."),
    "exact": (")]", "]"),
    "marker": ("9 * 2 = 18\n#### 18", "#### 9"),
    "number": ("18", "9"),
    "letter": ("B", "C"),
    "free letter": ("Answer: B", "Answer: C"),
    "first token": ("red", "blue"),
    "function": ("def f(x): return 3 + x", "def f(x): return 3"),
    "summary": ("A storm hit the town.", "Nobody knows what happened."),
    "gsm8k": ("#### 18", "#### 9"),
    "math500": ("\\boxed{18}", "\\boxed{9}"),
}

# Where a draft stands, and where the answer does.
FORMS = [
    "<think>{draft}</think>{answer}",
    "<THINK>\n{draft}\n</Think>\n\n{answer}",
    "{draft}\n</think>\n{answer}<|im_end|>",
    "[THINK]{draft}[/THINK]{answer}</s>",
    "<seed:think>{draft}</seed:think>{answer}",
    "◁think▷{draft}◁/think▷{answer}",
    "<|START_THINKING|>{draft}<|END_THINKING|><|START_RESPONSE|>{answer}<|END_RESPONSE|><|END_OF_TURN_TOKEN|>",
    "<|im_start|>think\n{draft}\n<|im_start|>answer\n{answer}<|im_end|>",
    "<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{answer}<|return|>",
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>{draft}<|end|>"
    "<|start|>assistant<|channel|>final<|message|>{answer}",
    "<|start|>assistant<|channel|>analysis<|message|>{draft}<|end|><|start|>assistant<|channel|>final<|message|>{answer}",
    "<|channel>thought\n{draft}<channel|>{answer}<turn|>",
    "analysisMaybe {draft}assistantfinal{answer}",
    "{answer}<|im_end|>\n<|im_start|>user\nAnd now?<|im_end|>\n<|im_start|>assistant\n{draft}",
    "{answer}<|START_OF_TURN_TOKEN|><|USER_TOKEN|>{draft}",
    "<｜begin▁of▁sentence｜>{answer}<｜end▁of▁sentence｜>{draft}",
    "{answer}<｜tool▁calls▁begin｜>{draft}",
    "{answer}\n<think>\n{draft}",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scorer", ANSWERS)
def test_the_answer_is_judged_and_not_the_draft(scorer: str, form: str) -> None:
    right, wrong = ANSWERS[scorer]
    assert _judged(scorer, Response(form.format(answer=right, draft=wrong), (1,), "stop")).outcome == "correct"
    assert _judged(scorer, Response(form.format(answer=wrong, draft=right), (1,), "stop")).outcome == "wrong"


# Thoughts that nothing follows: ones that do not end, and ones that do.
OPEN = [
    "<think>{draft}",
    "<think>{draft}<|im_end|>",
    "<think>no</think><think>{draft}",
    "[THINK]\n{draft}",
    "<|START_THINKING|>{draft}",
    "<|channel|>analysis<|message|>{draft}<|end|>",
    "<|channel>thought\n{draft}",
    "<|im_start|>think\n{draft}",
    "analysisMaybe {draft}",
    "<reasoning>{draft}</reasoning>",
    "{draft}</think>\n",
]


@pytest.mark.parametrize("form", OPEN)
@pytest.mark.parametrize("scorer", ANSWERS)
def test_a_right_draft_is_no_answer(scorer: str, form: str) -> None:
    """A response that stops by itself inside its thought gave no answer either."""
    response = form.format(draft=ANSWERS[scorer][0])
    stopped = _judged(scorer, Response(response, (1,), "stop"))
    assert (stopped.outcome, stopped.value, stopped.strict or 0.0) == ("no_answer", 0.0, 0.0)
    cut = _judged(scorer, Response(response, (1,), "length"))
    # One token is never cut, and a turn that ended is whole.
    whole = scorer in ("letter", "first token") or "<|im_end|>" in form
    assert (cut.outcome, cut.value) == ("no_answer" if whole else "truncated", 0.0)


@pytest.mark.parametrize("form", OPEN)
def test_a_program_in_a_thought_is_not_run(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "enclosure", lambda: pytest.fail("a draft was run"))
    text = form.format(draft=f"\n```python\n{FUNCTION}\n```\n")
    answer = code.Answer(Response(text, (1,), "stop"), "assert f(1) == 4", "f")
    assert code.judge_all([answer])[0].outcome == "no_answer"


@pytest.mark.parametrize("form", FORMS)
def test_programs_are_read_from_the_answer(form: str) -> None:
    text = form.format(answer=f"\n{FUNCTION}\n", draft="\ndef f(x): return 0\n")
    program = code.extract_code(own_answer(Response(text, (), "stop")).text, "f")
    assert program is not None
    assert program.strip() == FUNCTION


@pytest.mark.parametrize(
    "text", ["1 < 2 > 0", "a <thing> b", "x[THINKING]", "analysis", "the final assistant", "< think >", "<b>12</b>"]
)
@pytest.mark.parametrize("finish", ["stop", "length"])
def test_a_text_without_marks_is_left_as_it_is(text: str, finish: FinishReason) -> None:
    own = own_answer(Response(text, (), finish))
    assert (own.text, own.finished) == (text, finish == "stop")


@pytest.mark.parametrize("name", ["facts", "brackets", "functions", "arithmetic", "word_problems"])
def test_verdicts_made_before_are_made_again(name: str) -> None:
    """The store keeps a verdict until its task's scorer is counted up."""
    assert find("tasks", name).scorer > 1


@pytest.mark.parametrize(
    ("name", "protocol"), [("facts_choice", "free"), ("facts_choice", "one_token"), ("arc_easy", "one_token")]
)
def test_verdicts_under_a_protocol_are_made_again(name: str, protocol: str) -> None:
    assert under(find("tasks", name), protocol).scorer > find("tasks", name).scorer  # type: ignore[arg-type]  # a literal
