"""Chat templates are programs from outside: their failures are errors, and they end."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from layerlimits.chat import check_asks, check_template, rendering
from layerlimits.errors import UserError
from layerlimits.evaluation.prompts import encode
from layerlimits.reference.tokenizer import build
from layerlimits.types import Sample

LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
RECURSION = "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}"
SAMPLE = Sample("What is 2 + 2?", "4", "evaluate")


def _tokenizer(template: Any) -> Any:
    tokenizer = build()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('a system turn is needed') }}", "failed: a system turn is needed"),
        ("{{ messages[7]['content'] + 'a' }}", "failed: "),
        ("{{ 1 // 0 }}", "failed: integer division or modulo by zero"),
        ("{{ messages.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
        ("{{ range(10000000) | list }}", "Range too big"),
        ("{% include '/etc/passwd' %}", "failed: "),
        (RECURSION, "recursion"),
        ("Hello", "leaves out the text of the question"),
        ("{{ messages | length }}", "leaves out the text of the question"),
    ],
)
def test_a_template_that_fails_is_one_error(template: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        encode(_tokenizer(template), SAMPLE)
    assert words in refused.value.problem
    assert "--no-chat" in refused.value.fix


def test_a_template_without_end_is_stopped() -> None:
    tokenizer, began = _tokenizer(LOOPS), time.monotonic()
    with pytest.raises(UserError, match=r"did not finish within 0\.2 seconds"), rendering(tokenizer, 0.2):
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}])
    assert time.monotonic() - began < 20


def test_the_timer_is_off_afterwards_and_in_other_threads() -> None:
    tokenizer = _tokenizer("{{ messages[0]['content'] }}")
    with rendering(tokenizer, 0.05):
        pass
    time.sleep(0.1)
    failures: list[BaseException] = []

    def render() -> None:
        try:
            encode(tokenizer, SAMPLE)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=render)
    thread.start()
    thread.join()
    assert failures == []


def test_a_template_may_change_the_text_of_the_question() -> None:
    for template in ("{{ messages[0]['content'] | tojson }}", "{{ messages[0]['content'] | upper }}"):
        assert encode(_tokenizer(template), SAMPLE).ids
    check_asks(_tokenizer("constant"), [{"role": "user", "content": "  "}], "constant")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ 9**9**9 }}", r"computes a power"),
        ("{% set n = 2 ** messages | length %}", r"computes a power"),
        ({"default": "{{ 2**2 }}"}, r"computes a power"),
        (5, "is a int, not a text"),
        ("{{ 'open", "is invalid"),
    ],
)
def test_a_template_is_checked_before_it_runs(template: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        check_template(template, tmp_path)


def test_usual_templates_pass(tmp_path: Path) -> None:
    check_template(None, tmp_path)
    check_template("{# 2**2 #}{{ '2**2' }}{{ bos_token + '<|user|>' }}{% generation %}{% endgeneration %}", tmp_path)
