"""HumanEval+ and MBPP+: code out of any response, and verdicts by running it. About 25 s on two cores."""

import ast
import json
import time
from pathlib import Path

import pytest
from programs import BODY, CODE, f_of_1, need_sandbox

from layerlimits.scoring import sandbox
from layerlimits.scoring.code import Answer, extract_code, judge_all
from layerlimits.scoring.sandbox import Program, run
from layerlimits.scoring.syntax import without_assertions
from layerlimits.tasks import choose
from layerlimits.tasks._benchmark import Benchmark
from layerlimits.tasks.mbppplus import called_in, mbppplus
from layerlimits.types import Response, Sample, Task

PROMPT = 'import math\n\n\ndef g(x):\n    return math.sqrt(x)\n\n\ndef f(x: int):\n    """One more."""\n'


WHOLE = {
    "python fence": f"Here you are:\n```python\n{CODE}\n```\nThat adds one.",
    "py fence": f"```py\n{CODE}\n```",
    "Python 3 fence": f"```Python3\n{CODE}\n```",
    "fence without a language": f"```\n{CODE}\n```",
    "tildes": f"~~~python\n{CODE}\n~~~",
    "four backticks": f"````python\n{CODE}\n````",
    "fence with attributes": f"```python title='a.py'\n{CODE}\n```",
    "space before the language": f"``` python\n{CODE}\n```",
    "indented fence in a list": "1. So:\n   ```python\n"
    + "\n".join(f"   {line}" for line in CODE.split("\n"))
    + "\n   ```",
    "carriage returns": f"```python\n{CODE}\n```".replace("\n", "\r\n"),
    "no end of the fence": f"```python\n{CODE}",
    "end of the fence in the last line": f"```python\n{CODE}```",
    "code in the line of the fence": "```def f(x): return x + 1```",
    "an example first": f"```python\nf(1)  # 2\n```\n\n```python\n{CODE}\n```",
    "an example after": f"```python\n{CODE}\n```\nUse it:\n```python\nprint(f(1))\n```",
    "output after": f"```python\n{CODE}\n```\nOutput:\n```\n2\n```",
    "a better version after": f"```python\ndef f(x):\n    return x\n```\nThat is wrong.\n```python\n{CODE}\n```",
    "a version that was cut after": f"```python\n{CODE}\n```\nFaster:\n```python\ndef f(x):\n    return (x +",
    "another language first": f"```bash\npip install numpy\n```\n```python\n{CODE}\n```",
    "bare": CODE,
    "bare with spaces before": "\n\n" + "\n".join(f"    {line}" for line in CODE.split("\n")),
    "bare after prose": f"Sure, here is the function.\n\n{CODE}",
    "bare before prose": f"{CODE}\n\nThis adds one to x. It's quick!",
    "bare between prose": f"from what I see, add one:\n\n{CODE}\n\nDone (I think).",
    "bare with imports": f"import os\nfrom typing import List\n\n{CODE}",
    "bare with a helper": "def h(x):\n    return x + 1\n\ndef f(x):\n    return h(x)\n\nDone.",
    "assignment": "f = lambda x: x + 1",
    "decorated": "import functools\n\n@functools.cache\ndef f(x):\n    return x + 1",
    "doctest": ">>> def f(x):\n...     return x + 1\n...\n>>> f(1)\n2",
    "fence in a docstring": "```python\ndef f(x):\n    '''Adds.\n\n    >>> f(1)\n    2\n    '''\n    return x + 1\n```",
    "script after": f"{CODE}\n\nif __name__ == '__main__':\n    print(f(1))\n",
    "tabs": "```python\ndef f(x):\n\treturn x + 1\n```",
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_functions_are_found(name: str) -> None:
    assert f_of_1(extract_code(WHOLE[name], "f")) == 2
    assert f_of_1(extract_code(WHOLE[name], "f", PROMPT)) == 2


BODIES = {
    "body": BODY,
    "body without its first indent": BODY.lstrip(),
    "body at the margin": "total = x\nreturn total + 1",
    "body in a fence": f"```python\n{BODY}\n```",
    "body at the margin in a fence": "```python\ntotal = x\nreturn total + 1\n```",
    "body and another function": f"{BODY}\n\n\ndef h():\n    return 3\n",
    "body and prose": f"{BODY}\n\nThis adds one.",
    "body and a cut function": f"{BODY}\n\ndef h(:",
    "newline first": f"\n{BODY}",
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_continue_the_prompt(name: str) -> None:
    assert f_of_1(extract_code(BODIES[name], "f", PROMPT)) == 2


@pytest.mark.parametrize(
    "text", ["", "I don't know.", "Sorry", "```\n2\n```", "    The answer is\n    two", "```python\n```"]
)
def test_prose_is_no_code(text: str) -> None:
    assert extract_code(text, "f") is None
    assert extract_code(text, "f", PROMPT) is None


def test_helpers_of_the_prompt_are_there_for_the_answer() -> None:
    assert f_of_1(extract_code("```python\ndef f(x):\n    return g(4) + math.floor(x) - 1\n```", "f", PROMPT)) == 2


def test_a_function_of_another_name_is_left_to_the_test() -> None:
    assert extract_code("```python\ndef other(x):\n    return 2\n```", "f") == "def other(x):\n    return 2"


def test_long_prose_is_read_quickly() -> None:
    text = "import it from there\n" * 5000 + "def f(x):\n    return (x"
    began = time.process_time()
    assert extract_code(text, "f") is not None
    # A tenth of it on an idle machine.
    assert time.process_time() - began < 4


def _said(text: str, finish: str = "stop") -> Answer:
    return Answer(Response(text, (0,) * 7, finish), "assert f(1) == 2", "f")  # type: ignore[arg-type]  # any text


def test_verdicts_tell_how_an_answer_failed() -> None:
    need_sandbox()
    cut = "```python\ndef f(x):\n    return (x +"
    answers = [
        _said(CODE),
        _said("def f(x):\n    return x"),
        _said("I don't know."),
        _said(cut, "length"),
        _said("First we", "length"),
        _said("def f(x):\n    return (x +"),
        _said(f"```python\n{CODE}\n```\nAnd now", "length"),
    ]
    verdicts = judge_all(answers)
    outcomes = ["correct", "wrong", "no_answer", "truncated", "truncated", "error", "correct"]
    assert [verdict.outcome for verdict in verdicts] == outcomes
    assert [verdict.value for verdict in verdicts] == [1, 0, 0, 0, 0, 0, 1]
    assert verdicts[1].why == "assertion failed: assert f(1) == 2"
    assert verdicts[3].why == "truncated after 7 tokens"
    assert judge_all(answers[:1]) == verdicts[:1]


def test_a_models_own_assertions_are_not_run() -> None:
    need_sandbox()
    texts = [
        f"{CODE}\n\nassert f(1) == 3",
        f"{CODE}\nassert (\n    f(1) == 3\n), 'no'\n",
        f"{CODE}\n# Test\nassert f(2) == 3; g = 1\nassert g == 1",
        "assert False\nimport math\nassert False\ndef f(x):\n    assert x == 1\n    return x + 1",
        "def f(x):\n    assert x == 2\n    return x + 1",
        "def f(x):\n    return x\nassert True",
        f"{CODE}\ng = 1; assert False",
    ]
    verdicts = judge_all([_said(text) for text in texts])
    assert [verdict.outcome for verdict in verdicts] == ["correct"] * 4 + ["wrong"] * 3
    assert verdicts[0].answer == texts[0]
    code = "x = 1\nassert x\n\nassert (\n  x)\ny = 2"
    assert without_assertions(code) == "x = 1\n\n\n\n\ny = 2"
    assert without_assertions("assert (") == "assert ("


def test_nothing_to_run_needs_no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "enclosure", lambda: pytest.fail("a sandbox was looked for"))
    assert judge_all([_said("I don't know.")])[0].outcome == "no_answer"


COUNTS = {"humanevalplus": 164, "mbppplus": 407}


@pytest.fixture(params=COUNTS)
def task(request: pytest.FixtureRequest) -> Task:
    return choose([request.param])[0]


def whole(task: Task, data: Path) -> list[Sample]:
    """Every item, whatever its split."""
    assert isinstance(task.samples, Benchmark)
    return task.samples.whole(data)


def _everything(task: Task, data: Path) -> list[Sample]:
    need_sandbox()
    return whole(task, data)


def _program(sample: Sample, candidate: str) -> Program:
    return Program(candidate, sample.meta["test"], sample.meta["entry_point"])


def _failures(samples: list[Sample]) -> dict[str, str]:
    """Of reference solutions as examples show them."""
    answers = [
        Answer(Response(s.shown, (1,), "stop"), s.meta["test"], s.meta["entry_point"], s.meta.get("prompt", ""))
        for s in samples
    ]
    verdicts = judge_all(answers, seconds=30)
    return {s.meta["entry_point"]: v.why for s, v in zip(samples, verdicts, strict=True) if v.outcome != "correct"}


def test_reference_solutions_pass(task: Task, real_data: Path) -> None:
    assert _failures(_everything(task, real_data)[::5]) == {}


@pytest.mark.slow
def test_all_reference_solutions_pass(task: Task, real_data: Path) -> None:
    samples = _everything(task, real_data)
    assert len(samples) == COUNTS[task.name]
    assert _failures(samples) == {}


EQUAL = "class Equal:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
# What becomes of the reference solution: code after it, which replaces its function.
SPOILT = {
    "returns nothing": "def {name}(*a): pass",
    "another number": "_right = {name}\ndef {name}(*a):\n    r = _right(*a)\n"
    "    return 3 * r + 1 if isinstance(r, (int, float)) else r[:-1] if isinstance(r, str) and r else [r]",
    "ends early": "import os\ndef {name}(*a): os._exit(0)",
    "leaves early": "def {name}(*a): raise SystemExit(0)",
    "equals everything": EQUAL + "def {name}(*a): return Equal()",
    "no assertions": "import builtins\nbuiltins.AssertionError = OSError\ndef {name}(*a): raise AssertionError",
}


def _spoilt(sample: Sample, how: str) -> Program:
    return _program(sample, f"{sample.target}\n{SPOILT[how].format(name=sample.meta['entry_point'])}\n")


def test_spoilt_solutions_fail(task: Task, real_data: Path) -> None:
    samples = _everything(task, real_data)[3::40]
    names = [(sample.meta["entry_point"], how) for sample in samples for how in SPOILT]
    outcomes = run([_spoilt(sample, how) for sample in samples for how in SPOILT])
    assert [name for name, outcome in zip(names, outcomes, strict=True) if outcome.passed] == []


@pytest.mark.slow
@pytest.mark.parametrize("how", SPOILT)
def test_all_spoilt_solutions_fail(task: Task, how: str, real_data: Path) -> None:
    samples = _everything(task, real_data)
    outcomes = run([_spoilt(sample, how) for sample in samples])
    passed = [s.meta["entry_point"] for s, o in zip(samples, outcomes, strict=True) if o.passed]
    assert passed == []


def test_a_task_scores_the_reference_in_prose_and_refuses_the_visible_assertions_alone(
    task: Task, real_data: Path
) -> None:
    sample = _everything(task, real_data)[0]
    right = Response(f"Sure!\n```python\n{sample.target}\n```", (1,), "stop")
    assert task.score(sample, right).outcome == "correct"
    assert task.score(sample, Response(sample.prompt, (1,), "stop")).value == 0


def test_answers_made_of_the_visible_assertions_fail(real_data: Path) -> None:
    """MBPP+: a table of the examples in the prompt is no solution where the hidden test has others."""
    samples = [s for s in _everything(mbppplus, real_data) if s.meta["entry_point"] == "is_not_prime"]
    table = "def is_not_prime(n): return {2: False, 10: True, 35: True, 37: False}[n]"
    assert run([_program(samples[0], table)])[0].why.startswith("raised KeyError")


def test_bodies_of_humaneval_continue_their_prompt(real_data: Path) -> None:
    lines = (real_data / "humanevalplus" / "test.jsonl").read_text().splitlines()
    assert len(lines) == 164
    for line in lines:
        row = json.loads(line)
        code = extract_code(row["canonical_solution"], row["entry_point"], row["prompt"])
        assert code is not None
        assert ast.dump(ast.parse(code)) == ast.dump(ast.parse(row["prompt"] + row["canonical_solution"]))


def test_prompts_show_the_problem_and_not_the_test(task: Task, real_data: Path) -> None:
    samples = whole(task, real_data)
    assert len(samples) == COUNTS[task.name]
    for sample in samples:
        assert sample.meta["entry_point"] in sample.prompt
        assert sample.target not in sample.prompt
        assert sample.meta["test"] not in sample.prompt


def test_the_function_that_assertions_call_is_the_entry_point() -> None:
    code = "def helper(x): return x\ndef wanted(x): return helper(x)"
    assert called_in(["assert set(wanted([1])) == set([1])"], code) == "wanted"
    with pytest.raises(ValueError, match="none of the functions in the reference solution: helper, wanted"):
        called_in(["assert other(1)"], code)
    with pytest.raises(ValueError, match="is not valid Python"):
        called_in(["assert"], code)
