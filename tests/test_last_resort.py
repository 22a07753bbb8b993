"""The last resort: an unexpected exception is one message, and text from outside is escaped in the terminal."""

import re
import sys
from pathlib import Path
from shutil import copytree

import pytest

from layerlimits.cli import main, methods
from layerlimits.cli.printing import say, show, table
from layerlimits.errors import UserError, printable
from layerlimits.models import save
from layerlimits.models.locate import locate
from layerlimits.plugins import find

SOURCE = Path(__file__).resolve().parents[1] / "src"


def _ended(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["layerlimits", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("x"), "failed unexpectedly (methods.py, line "),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (OSError(5, "Input/output error"), "OSError: [Errno 5] Input/output error"),
        (ValueError("a\x1b[31m\nb"), "ValueError: a\\x1b[31m b"),
        (MemoryError(), "this machine's memory is not sufficient"),
    ],
)
def test_an_unexpected_exception_is_one_message(
    error: Exception, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(methods, "table", fail)
    monkeypatch.delenv("LAYERLIMITS_DEBUG", raising=False)
    status, said = _ended(["methods"], monkeypatch, capsys)
    assert status == 1
    assert words in said
    assert re.fullmatch(r"error: [^\n]*\n  fix: [^\n]*\n", said)
    monkeypatch.setenv("LAYERLIMITS_DEBUG", "1")
    status, said = _ended(["methods"], monkeypatch, capsys)
    assert status == 1
    assert "Traceback (most recent call last)" in said


def test_without_arguments_the_help_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    status, said = _ended([], monkeypatch, capsys)
    assert status == 2
    assert "Traceback" not in said
    assert "error: " not in said


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é ²", "plain é ²"),
        ("\x1b[2Jgone", "\\x1b[2Jgone"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\ud800", "\\ud800"),
        ("abc\u202edef", "abc\\u202edef"),
        ("\x9b31m", "\\x9b31m"),
    ],
)
def test_text_from_outside_is_escaped(text: str, shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printable(text) == shown
    assert str(UserError(text, text)) == f"error: {shown}\n  fix: {shown}"
    say(text)
    assert capsys.readouterr().out == f"{shown}\n"
    cells = table(text, ["a"])
    cells.add_row(text)
    show(cells)
    assert not {"\x1b", "\u202e", "\ud800", "\x9b"} & set(capsys.readouterr().out)


def test_a_long_text_is_shortened() -> None:
    shown = printable("9" * 100_000)
    assert len(shown) < 4100
    assert "(100,000 characters)" in shown


def test_a_failed_checkpoint_leaves_nothing(tiny: Path, tmp_path: Path) -> None:
    def fail() -> dict[str, object]:
        raise KeyboardInterrupt

    for error in (KeyboardInterrupt, OSError):

        def about(error: type[BaseException] = error) -> dict[str, object]:
            raise error

        with pytest.raises(error), save._appearing(tiny, tmp_path / "out", about) as partial:
            copytree(tiny, partial, dirs_exist_ok=True)
        assert list(tmp_path.iterdir()) == []


def test_a_plugin_that_ends_the_process_is_named(tmp_path: Path) -> None:
    for text, words in [
        ("import sys\n\nsys.exit(3)\n", "mine.py cannot be imported: line 3: SystemExit: 3"),
        ("class A:\n    x = A\n", "mine.py cannot be imported: line 2: NameError"),
    ]:
        (tmp_path / "mine.py").write_text(text)
        with pytest.raises(UserError) as refused:
            find("methods", str(tmp_path / "mine.py"))
        assert words in refused.value.problem


def test_an_empty_model_is_not_the_current_folder() -> None:
    for name in ("", "  "):
        with pytest.raises(UserError, match="the model is an empty text"):
            locate(name)


def test_remote_code_and_shells_occur_nowhere() -> None:
    for file in SOURCE.rglob("*.py"):
        text = file.read_text()
        assert not re.search(r"trust_remote_code\s*=\s*(?!False)", text), file
        assert not re.search(r"shell\s*=\s*True|os\.system|pickle\.load|allow_pickle\s*=\s*True", text), file
        assert all("weights_only=True" in call for call in re.findall(r"torch\.load\([^\n]*", text)), file
