"""Programs out of hostile texts within seconds, and out of odd but honest ones; no thought is judged. About 15 s."""

import time
from pathlib import Path

import pytest
from programs import BODY, CODE, f_of_1, need_sandbox

from layerlimits.evaluation.store import Key, Store
from layerlimits.plugins import find
from layerlimits.scoring import sandbox
from layerlimits.scoring.code import Answer, extract_code, judge_all
from layerlimits.scoring.extract import _LONGEST
from layerlimits.scoring.syntax import MOST_PARSED, BoundedParser
from layerlimits.scoring.transcript import own_answer
from layerlimits.types import FinishReason, Response, Sample

PROMPT = 'import math\n\n\ndef f(x: int):\n    """One more."""\n'

HOSTILE = {
    "imports before an open return": "import a\n" * 700 + "def f(x):\n    return (\n" + "b = 1\n" * 100,
    "imports and lines in turn": "import a\nb = 1\n" * 5000 + "def f(x):\n    return (",
    "6040 imports": "import a\n" * 6040,
    "6040 imports and a function": "import a\n" * 6040 + CODE,
    "imports of prose": "import it from there\n" * 5000 + CODE,
    "fences": "```python\n" * 12000,
    "fenced functions": f"```python\n{CODE}\n```\n" * 2000,
    "fenced functions that are cut": "```python\ndef f(x):\n    return (\n```\n" * 3000,
    "fences that name no function": "```\nx = 1\n```\n" * 9000,
    "functions": "def f(x):\n    return x\n\n" * 4500,
    "functions that are cut": "def f(x): return (\n" * 6000,
    "functions with prose between": "def f(x): return x\nNot so.\n" * 4000,
    "open brackets": CODE + "\n" + "(" * 100_000,
    "open braces on lines": "f = {\n" * 20_000,
    "brackets that close": "f = " + "[" * 100_000 + "]" * 100_000,
    "signs": "f = " + "-" * 100_000 + "1",
    "sums": "f = 1" + " + 1" * 30_000,
    "nested blocks": "def f(x):\n" + "\n".join(" " * depth + "if x:" for depth in range(1, 480)),
    "statements on one line": "f = 1;" + "a;" * 60_000,
    "1 MB of words": "def f is what I define here, " * 35_000,
    "1 MB of code": "def f(x):\n    return x\n" * 43_000,
    "surrogates": f"{CODE}\n\ud800\n" + "x = '\udfff'\n" * 9000,
    "NULs": f"{CODE}\n\0\n" + "\0" * 100_000,
    "one long line": f"f = lambda x: {'x + ' * 29_000}1",
    "a line of spaces": " " * 1_000_000 + CODE,
    "quote signs": ">" * 1_000_000 + "\n" + CODE,
    "decorators": "@a\n" * 39_000 + CODE,
    "strings that do not end": 'f = """\n' * 14_000,
    "carriage returns": "f = 1\r" * 20_000,
    "thoughts": "<think>" * 70_000 + "</think>" * 60_000 + CODE,
    "marks": "<|endoftext|>" * 80_000 + CODE,
    "interactive": ">>> def f(x):\n... return (\n" * 4000,
}


def _own(text: str) -> str:
    return own_answer(Response(text, (), "stop")).text


@pytest.mark.parametrize("prompt", ["", PROMPT], ids=["function", "continuation"])
@pytest.mark.parametrize("name", HOSTILE)
def test_any_text_is_read_within_seconds(name: str, prompt: str) -> None:
    began = time.process_time()
    extract_code(_own(HOSTILE[name]), "f", prompt)
    assert time.process_time() - began < 4


def test_what_is_parsed_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound in characters, which holds on any machine."""
    parsed: list[int] = []
    cost = BoundedParser._cost

    def counted(self: BoundedParser, code: str, tree: object) -> int:
        parsed.append(cost(self, code, tree))  # type: ignore[arg-type]  # passed on as it came
        return parsed[-1]

    monkeypatch.setattr(BoundedParser, "_cost", counted)
    for name, text in list(HOSTILE.items())[::3]:
        parsed.clear()
        extract_code(text, "f", PROMPT)
        assert sum(parsed) <= MOST_PARSED + _LONGEST + len(PROMPT), name


@pytest.mark.parametrize("name", ["6040 imports and a function", "imports of prose", "NULs", "surrogates"])
def test_a_right_program_in_a_hostile_text_is_still_read(name: str) -> None:
    code = extract_code(HOSTILE[name], "f")
    assert code is not None
    assert code.removeprefix("import a\n" * 6040).strip() == CODE


QUOTED = "\n".join(f"> {line}" for line in f"```python\n{CODE}\n```".split("\n"))
RIGHT = {
    "closed by a chat mark": f"```python\n{CODE}<|im_end|>",
    "closed by a chat mark on its line": f"```python\n{CODE}\n<|eot_id|><|start_header_id|>user\nMore?",
    "opened twice": f"```python\n```python\n{CODE}\n```",
    "opened twice, first without a name": f"```\n```python\n{CODE}\n```\n```",
    "opened again without an end": f"```python\nimport os\n\nOr better:\n```python\n{CODE}\n```",
    "quoted": QUOTED,
    "quoted twice": "\n".join(f"> {line}" for line in QUOTED.split("\n")),
    "quoted without spaces": "\n".join(f">{line}" for line in f"```python\n{CODE}\n```".split("\n")),
    "quoted without a fence": "It says:\n\n" + "\n".join(f"> {line}" for line in CODE.split("\n")),
    "in a list": "- ```python\n" + "\n".join(f"  {line}" for line in CODE.split("\n")) + "\n  ```",
    "in a numbered list": "1. ```python\n" + "\n".join(f"   {line}" for line in CODE.split("\n")) + "\n   ```",
    "before the end of the text": f"{CODE}<|endoftext|>def f(x):\n    return 0",
    "before a next turn": f"{CODE}\n<end_of_turn>\n<start_of_turn>user\nAnd now?",
    "after the opening of its turn": f"<|im_start|>assistant\n```python\n{CODE}\n```",
    "after a thought": f"<think>def f(x):\n    return 0</think>\n{CODE}",
    "after a fenced draft in a thought": f"<think>\n```python\ndef f(x):\n    return 0\n```\n</think>\n{CODE}",
    "after a thought that the prompt opened": f"```python\ndef f(x):\n    return 0\n```\n</think>\n{CODE}",
    "before a fenced draft in a second thought": f"<think>a</think>{CODE}\n<think>\n```\ndef f(x):\n    return 0\n```",
    "after a thought in brackets": f"[THINK]```\ndef f(x): return 0\n```[/THINK]{CODE}",
    "after a channel": "<|channel|>analysis<|message|>```\ndef f(x): return 0\n```<|end|>"
    f"<|start|>assistant<|channel|>final<|message|>{CODE}<|return|>",
    "after a turn of thought": f"<|im_start|>think\n```\ndef f(x): return 0\n```\n<|im_start|>answer\n{CODE}",
}


@pytest.mark.parametrize("prompt", ["", PROMPT], ids=["function", "continuation"])
@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_in_odd_forms_are_right(name: str, prompt: str) -> None:
    assert f_of_1(extract_code(_own(RIGHT[name]), "f", prompt)) == 2


@pytest.mark.parametrize("mark", ["<|endoftext|>", "<|im_end|>\n<|im_start|>user\nNext", "</s>", "<|end_of_text|>def"])
def test_a_body_before_a_mark_continues_the_prompt(mark: str) -> None:
    assert f_of_1(extract_code(_own(f"{BODY}{mark}"), "f", PROMPT)) == 2


def _judged(text: str, finish: FinishReason = "stop") -> str:
    return judge_all([Answer(Response(text, (1,), finish), "assert f(1) == 2", "f", PROMPT)])[0].outcome


THOUGHTS = {
    "unfinished": f"<think>\nMaybe:\n```python\n{CODE}\n```\nBut wait",
    "unfinished, with a body": f"<think>{BODY}",
    "unfinished in another form": f"[THINK]\n{CODE}",
    "a channel without a final one": f"<|channel|>analysis<|message|>```python\n{CODE}\n```",
    "finished, and nothing after": f"<thinking>\n```python\n{CODE}\n```\n</thinking>",
    "begun by the prompt, and nothing after": f"```python\n{CODE}\n```\n</think>\n",
    "a second one": f"<think>no</think>Let me see.\n<think>\n```python\n{CODE}\n```",
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_a_draft_in_a_thought_is_no_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "enclosure", lambda: pytest.fail("a draft was run"))
    assert _judged(THOUGHTS[name]) == "no_answer"
    assert _judged(THOUGHTS[name], "length") == "truncated"


def test_a_wrong_answer_after_a_right_draft_is_wrong() -> None:
    need_sandbox()
    draft = f"<think>\n```python\n{CODE}\n```\n</think>\n"
    assert _judged(f"{draft}```python\ndef f(x):\n    return x\n```") == "wrong"
    assert _judged(f"{draft}def f(x):\n    return x") == "wrong"
    assert _judged(f"<think>hm</think>```python\n{CODE}\n```") == "correct"


def test_an_ended_turn_is_whole_though_tokens_ran_out_after_it() -> None:
    assert _judged("def f(x:<|endoftext|>and more", "length") == "error"
    assert _judged("def f(x:", "length") == "truncated"


@pytest.mark.parametrize("name", ["summaries", "xsum"])
def test_thoughts_are_no_summary(name: str) -> None:
    task = find("tasks", name)
    sample = Sample("Article", "The cat sat on the mat today.", "evaluate")

    def judged(text: str, finish: FinishReason = "stop") -> tuple[str, float]:
        verdict = task.score(sample, Response(text, (1,), finish))
        return verdict.outcome, verdict.value

    assert judged(sample.target) == ("correct", 1.0)
    assert judged(f"<think>A dog, a mat, a cat: what matters?</think>\n{sample.target}<|im_end|>") == ("correct", 1.0)
    assert judged(f"<think>{sample.target}") == ("no_answer", 0.0)
    assert judged(f"<think>{sample.target}", "length") == ("truncated", 0.0)
    assert judged(f"{sample.target}</think>") == ("no_answer", 0.0)
    assert judged(f"<think>{sample.target}</think>A dog ran.")[0] == "wrong"
    assert task.scorer > 1


def test_verdicts_on_hostile_texts_can_be_stored(tmp_path: Path) -> None:
    need_sandbox()
    texts = [HOSTILE[name] for name in ("surrogates", "NULs")]
    verdicts = judge_all([Answer(Response(text, (1,), "stop"), "assert f(1) == 2", "f") for text in texts])
    assert [verdict.outcome for verdict in verdicts] == ["correct", "correct"]
    keys = [Key("m", "t", 1, str(number), "p", "greedy", "e") for number in range(2)]
    with Store(tmp_path) as store:
        store.add([(key, Response("", (), "stop"), verdict) for key, verdict in zip(keys, verdicts, strict=True)])
        assert store.verdicts(keys) == dict(zip(keys, verdicts, strict=True))
