"""Arguments and system turns of chat templates: in every command, in every place that renders, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from layerlimits import ChatOptions, EvalOptions, UserError, calibration, get_tasks, study_config
from layerlimits.chat import bind, check_options, variables
from layerlimits.cli.parse import chat_options
from layerlimits.evaluation.prompts import encode, template_hash
from layerlimits.evaluation.store import Store
from layerlimits.lm_eval_bridge import chat_text
from layerlimits.reference.tokenizer import build
from layerlimits.types import Sample

Says = Callable[..., Any]
Refused = Callable[..., str]
SAMPLE = Sample("What is 2 + 2?", "4", "evaluate", shots=(("1 + 1?", "2"),))
TURNS = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
MODE = "{% if mode is not defined %}{{ raise_exception('set mode') }}{% endif %}" + TURNS + "{{ mode }}"
TWO = "{% if a is not defined or b is not defined %}{{ raise_exception('set a and b') }}{% endif %}" + TURNS
NEEDS_SYSTEM = "{% if messages[0].role != 'system' %}{{ raise_exception('no system turn') }}{% endif %}" + TURNS
REJECTS = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + TURNS
DROPS = "{% for m in messages if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endfor %}"
THINKS = TURNS + "{% if enable_thinking | default(true) %}<think>{% endif %}{% generation %}{% endgeneration %}"


def tokenizer_with(template: str | None) -> Any:
    tokenizer = build()
    tokenizer.chat_template = template
    return tokenizer


def test_settings_reach_every_place_that_renders() -> None:
    tokenizer = tokenizer_with(THINKS)
    plain = encode(tokenizer, SAMPLE)
    bind(tokenizer, ChatOptions("Be brief.", {"enable_thinking": False}))
    prompt = encode(tokenizer, SAMPLE)
    assert prompt.text == "[system]Be brief.[user]1 + 1?[assistant]2[user]What is 2 + 2?"
    assert tokenizer.decode(prompt.ids) == prompt.text
    assert plain.text == "[user]1 + 1?[assistant]2[user]What is 2 + 2?<think>"
    assert prompt.template == template_hash(tokenizer) != plain.template
    # lm-evaluation-harness renders by itself.
    assert chat_text(tokenizer, [{"role": "user", "content": "x"}]) == "[system]Be brief.[user]x"
    # A conversation that has a system turn keeps it.
    turns = [{"role": "system", "content": "Own."}, {"role": "user", "content": "x"}]
    assert tokenizer.apply_chat_template(turns, tokenize=False).startswith("[system]Own.[user]x")
    bind(tokenizer)
    assert encode(tokenizer, SAMPLE).hash == plain.hash
    assert encode(tokenizer, SAMPLE).template == plain.template


def test_a_template_says_what_it_reads() -> None:
    assert variables(tokenizer_with(THINKS)) == {"enable_thinking"}
    assert variables(tokenizer_with(MODE)) == {"mode"}
    assert variables(tokenizer_with("{% set x = 1 %}{{ x }}{{ bos_token }}{{ messages[0].content }}")) == set()
    assert variables(tokenizer_with(None)) == set()


@pytest.mark.parametrize("template", [MODE, TWO, NEEDS_SYSTEM])
def test_a_template_that_needs_something_says_what_works(template: str) -> None:
    tokenizer = tokenizer_with(template)
    with pytest.raises(UserError) as refused:
        encode(tokenizer, SAMPLE)
    assert refused.value.fix.endswith("use plain text (--no-chat), or correct the chat template of the model")
    # The fix works when followed.
    words = refused.value.fix.split(", or ")[0].removeprefix("set ")
    arguments = [part.strip() for part in words.split("--chat-args ")[1:]]
    system = words.removeprefix("--system ").strip("'") if words.startswith("--system") else None
    bind(tokenizer, chat_options(system, arguments))
    assert "What is 2 + 2?" in encode(tokenizer, SAMPLE).text


@pytest.mark.parametrize(
    ("template", "options", "words", "fix"),
    [
        (REJECTS, ChatOptions("Hi."), "System role not supported", "omit the system prompt (--system)"),
        (DROPS, ChatOptions("Hi."), "has no system role", "omit the system prompt (--system)"),
        (None, ChatOptions("Hi."), "has no chat template", "omit --system and --chat-args"),
        (
            THINKS,
            ChatOptions(args={"enable_thinkin": False}),
            "does not read the argument",
            "did you mean enable_thinking",
        ),
        (TURNS, ChatOptions(args={"mode": 1}), "does not read the argument mode", "the template reads no argument"),
    ],
)
def test_settings_that_a_template_cannot_use(template: str | None, options: ChatOptions, words: str, fix: str) -> None:
    with pytest.raises(UserError) as refused:
        check_options(tokenizer_with(template), options, "m")
    assert words in refused.value.problem
    assert fix in refused.value.fix
    check_options(tokenizer_with(template), ChatOptions(), "m")


def test_arguments_of_the_command_line() -> None:
    given = ["enable_thinking=false", "effort=low", 'tools=[{"name": "f"}]', "n=3", 'text="False"']
    expected = {"enable_thinking": False, "effort": "low", "tools": [{"name": "f"}], "n": 3, "text": "False"}
    assert chat_options("Hi.", given) == ChatOptions("Hi.", expected)
    assert not chat_options(None, None)
    assert str(ChatOptions("Hi.", {"a": False})) == "the system prompt 'Hi.' and the template arguments a=false"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["enable_thinking"], "has no value"),
        (["a=False"], "written as in Python"),
        (["a=1", "a=2"], "given twice"),
        (["a={x"], "not JSON"),
        (["a="], "not JSON"),
        (["a-b=1"], "not the name of a template argument"),
        (["messages=[]"], "cannot be set"),
        (["add_generation_prompt=false"], "cannot be set"),
    ],
)
def test_bad_arguments(arguments: list[str], words: str, refused: Refused) -> None:
    """Before anything is read: the model does not exist."""
    given = [part for argument in arguments for part in ("--chat-args", argument)]
    assert words in refused("evaluate", "no-such-model", "--tasks", "facts", *given)


def test_settings_of_a_study(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('system = "Be brief."\n[chat_args]\nenable_thinking = false\n')
    assert study_config("quick", file).template == ChatOptions("Be brief.", {"enable_thinking": False})
    assert study_config("quick", file, system="Other.").template.system == "Other."
    file.write_text("[chat_args]\nday = 2026-11-28\n")
    with pytest.raises(UserError, match="the template argument day is not a JSON value"):
        study_config("quick", file)
    with pytest.raises(UserError, match="chat_args"):
        study_config("quick", chat_args=["a"])


@pytest.fixture
def chatty(tiny: Path, tmp_path: Path) -> Path:
    """The untaught model with a template that has a system role and an argument."""
    folder = tmp_path / "chatty"
    folder.mkdir()
    for file in tiny.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(THINKS.replace("<think>", "<|open|>"))
    return folder


def test_ways_of_asking_share_a_run_folder(says: Says, refused: Refused, chatty: Path, tmp_path: Path) -> None:
    asked = (chatty, "--tasks", "facts", "--limit", 3, "--out", tmp_path / "run")
    ways: list[tuple[str, ...]] = [(), ("--chat-args", "enable_thinking=false"), ("--system", "Be brief.")]
    results = [says("evaluate", *asked, *way) for way in ways]
    assert [result["chat"] for result in results] == [
        {"system": "", "args": {}},
        {"system": "", "args": {"enable_thinking": False}},
        {"system": "Be brief.", "args": {}},
    ]
    assert len({result["scores"]["facts"]["template"] for result in results}) == 3
    with Store(tmp_path / "run", read_only=True) as store:
        assert store.count("responses") == 9
        texts = [json.loads(content)["text"] for _, content in store.rows("prompts")]
    assert sum("[system]Be brief." in text for text in texts) == 3
    assert sum("<|open|>" not in text for text in texts) == 3
    # The first way again computes nothing and gives the same.
    assert says("evaluate", *asked) == results[0]


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "{}", "--tasks", "facts"),
        ("sweep", "{}", "--tasks", "facts"),
        ("compare", "{}", "{}", "--tasks", "facts"),
        ("rank", "{}", "--method", "perplexity"),
        ("prune", "{}", "--method", "perplexity", "--layers", "2", "--out", "{}-pruned"),
        ("study", "{}", "--plan"),
    ],
)
def test_every_command_checks_the_settings_before_weights_load(
    command: tuple[str, ...], chatty: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerlimits.models.load.load", lambda *_, **__: pytest.fail("weights were loaded"))
    arguments = [part.format(chatty) for part in command]
    assert "does not read the argument enable_thinkin" in refused(*arguments, "--chat-args", "enable_thinkin=false")
    assert "no such setting" not in refused(*arguments, "--chat-args", "enable_thinking=False")


def test_plain_text_has_no_settings(refused: Refused, chatty: Path) -> None:
    said = refused("evaluate", chatty, "--tasks", "facts", "--no-chat", "--system", "Hi.")
    assert "prompts are plain text (--no-chat)" in said


def test_calibration_conversations_have_the_settings(chatty: Path) -> None:
    usual = calibration(chatty, 4)
    briefly = calibration(chatty, 4, template=ChatOptions("Be brief."))
    assert usual.hashes == briefly.hashes
    assert all(len(long) > len(short) for long, short in zip(briefly.ids, usual.ids, strict=True))


def test_a_study_with_other_settings_needs_a_folder_of_its_own(
    says: Says, refused: Refused, chatty: Path, tmp_path: Path
) -> None:
    plan = says("study", chatty, "--plan", "--system", "Be brief.", "--tasks", "facts", "--out", tmp_path / "run")
    assert plan["chat"] == {"system": "Be brief.", "args": {}}
    assert EvalOptions().template == ChatOptions()
    assert get_tasks("facts")[0].chat is None
