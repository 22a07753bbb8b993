"""The reader of foreign files: what is bounded, and what each error says."""

import os
from pathlib import Path

import pytest

from layerlimits import foreign
from layerlimits.errors import UserError
from layerlimits.foreign import check_file, json_value, read_object, read_text, reason, refusing


class PanicException(BaseException):  # the name that pyo3 uses
    """Stands for the exception of a library in Rust."""


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "good").write_text("abc")
    for name, words in {
        "pipe": "it is not a regular file",
        "zero": "it is not a regular file",
        ".": "it is a folder, not a file",
        "gone": "No such file or directory",
        "loop": "Too many levels of symbolic links",
        "good/more": "Not a directory",
        "n" * 300: "File name too long",
        "a\0b": "embedded null byte",
    }.items():
        with pytest.raises(UserError, match=f"cannot read .*: {words}"):
            read_text(tmp_path / name, 10, "fix")
    assert check_file(tmp_path / "good", 3, "fix") == 3
    with pytest.raises(UserError, match="good is too large: 3 bytes, maximum 2") as refused:
        check_file(tmp_path / "good", 2, "use a smaller one")
    assert refused.value.fix == "use a smaller one"


def test_texts_are_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    file = tmp_path / "text"
    file.write_bytes(b"\xef\xbb\xbfa\xc3\xa9")
    assert read_text(file, 100, "fix") == "aé"
    file.write_bytes(b"ab\x80")
    with pytest.raises(UserError, match="text is not UTF-8: byte 3 is 0x80"):
        read_text(file, 100, "fix")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not valid JSON: Expecting value at column 1"),
        ('{"a": 1,\n}', "at line "),
        ("[" * 101 + "]" * 101, "is nested deeper than 100 levels"),
        ('{"a":' * 200_000, "is nested deeper than 100 levels"),
        ("-" + "7" * 4400, "contains an integer of 4,400 digits"),
        ('{"\\udfff": 1}', "contains the lone surrogate \\udfff"),
        ("\0", "a NUL byte at column 1"),
    ],
)
def test_json_that_cannot_be_read(text: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        json_value(text, "the text", "correct it")
    assert words in refused.value.problem
    assert refused.value.problem.startswith("the text ")
    assert refused.value.fix == "correct it"


@pytest.mark.parametrize(
    ("text", "kind"),
    [("[]", "a list"), ('"a"', "a string"), ("5", "a number"), ("null", "null"), ("true", "a boolean")],
)
def test_what_is_not_an_object(text: str, kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=f"a.json is not a JSON object but {kind}"):
        read_object(tmp_path / "a.json")


def test_large_objects_are_refused_before_they_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "MOST_OBJECT_BYTES", 10)
    (tmp_path / "a.json").write_text(" " * 11)
    with pytest.raises(UserError, match="is too large: 11 bytes, maximum 10"):
        read_object(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (KeyError("a"), "reading failed: 'a'"),
        (RecursionError(), "reading failed: RecursionError"),
        (PanicException("index\nout of range"), "reading failed: index out of range"),
    ],
)
def test_failures_of_libraries_become_one_error(error: BaseException, words: str) -> None:
    with pytest.raises(UserError) as refused, refusing("reading failed", "fix"):
        raise error
    assert refused.value.problem == words


def test_own_errors_and_interrupts_pass(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="mine"), refusing("reading failed", "fix"):
        raise UserError("mine", "fix")
    with pytest.raises(KeyboardInterrupt), refusing("reading failed", "fix"):
        raise KeyboardInterrupt
    assert len(reason(ValueError("x " * 1000))) == 300
