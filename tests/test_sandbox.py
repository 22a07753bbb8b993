"""The sandbox: honest programs pass, hostile ones neither pass nor reach anything. About 45 s on two cores."""

import ast
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import CHEATS, HOGS, SPIES, TEST
from hostile_calls import CALLS
from hostile_calls import HONEST as UNUSUAL

from layerlimits.errors import UserError
from layerlimits.scoring import sandbox
from layerlimits.scoring.sandbox import Outcome, Program, confine, run

HONEST = Program("def f(x): return x + 1", TEST, "f")


@pytest.fixture(params=["bubblewrap", "namespaces"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to shut a program in; the second as on a machine without bubblewrap."""
    if request.param == "namespaces":
        monkeypatch.setattr(sandbox, "has_bubblewrap", lambda: False)
    try:
        available = sandbox.enclosure()
    except UserError as error:
        pytest.skip(f"no sandbox on this machine: {error.problem}")
    if available != request.param:
        pytest.skip(f"{request.param} does not work on this machine")
    return str(request.param)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A word in the command line of every process of a sandbox and of its children; none may be left."""
    word = f"mark={uuid.uuid4()}"
    *flags, last = confine._FLAGS
    monkeypatch.setattr(confine, "_FLAGS", (*flags, "-X", word, last))
    yield word
    end = time.monotonic() + 5
    while left := _with_word(word):
        assert time.monotonic() < end, f"left: {left}"
        time.sleep(0.05)


def _with_word(word: str) -> list[str]:
    processes = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in file.read_bytes():
                processes.append(file.parent.name)
        except OSError:
            pass
    return processes


def _outcomes(programs: dict[str, str], workers: int = 2, **filled: object) -> dict[str, Outcome]:
    for name, value in filled.items():
        programs = {what: source.replace(f"{{{name}}}", str(value)) for what, source in programs.items()}
    judged = run([Program(source, TEST, "f") for source in programs.values()], seconds=1, workers=workers)
    return dict(zip(programs, judged, strict=True))


def test_there_are_enough_hostile_programs() -> None:
    assert len(CHEATS) + len(HOGS) + len(SPIES) >= 100
    for name, source in (CHEATS | HOGS | SPIES).items():
        if name not in ("no Python", "null byte"):
            ast.parse(source)


def test_honest_programs_pass_and_wrong_ones_do_not(kind: str, mark: str) -> None:
    wrong = Program("def f(x): return x + 2", TEST, "f")
    raising = Program("def f(x): return {}[x]", TEST, "f")
    assert run([HONEST, wrong, raising]) == [
        Outcome(True, "passed"),
        Outcome(False, f"assertion failed: {TEST}"),
        Outcome(False, "raised KeyError: '1'"),
    ]


def test_no_program_passes_without_the_answer(kind: str, mark: str) -> None:
    outcomes = _outcomes(CHEATS)
    assert not [name for name, outcome in outcomes.items() if outcome.passed]
    assert outcomes["ends at once with status 0"].why == "no result: the program ended"
    assert outcomes["a list equal to everything"].why == "not a plain value: a value of type E"
    assert outcomes["prints PASS"].why == f"assertion failed: {TEST}"
    assert all("\n" not in outcome.why and len(outcome.why) <= 300 for outcome in outcomes.values())
    assert run([HONEST])[0].passed


def test_hogs_are_ended_and_leave_nothing(kind: str, mark: str) -> None:
    began = time.monotonic()
    # Most of them sleep or are ended by the clock.
    outcomes = _outcomes(HOGS, workers=6)
    assert not [name for name, outcome in outcomes.items() if outcome.passed]
    assert time.monotonic() - began < 90
    assert outcomes["endless loop"].why == "timed out after 1 s"
    assert outcomes["sleeps"].why == "timed out after 1 s"
    # On a busy machine its processor time can end before the memory does.
    assert outcomes["memory"].why.startswith(("memory", "timed out"))
    assert outcomes["memory at once"].why.startswith("memory")
    assert outcomes["huge value"].why.startswith("not a plain value: a value of 6")
    assert run([HONEST])[0].passed


def test_nothing_outside_can_be_read_changed_or_reached(
    kind: str, mark: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "SECRET")
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    before = canary.stat()
    name = f"layerlimits-{uuid.uuid4()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        port = server.getsockname()[1]
        outcomes = _outcomes(SPIES, canary=canary, pid=os.getpid(), port=port, abstract=name)
    assert {name: outcome.why for name, outcome in outcomes.items() if not outcome.passed} == {}
    assert canary.read_text() == "as it was"
    assert (canary.stat().st_mtime_ns, canary.stat().st_mode) == (before.st_mtime_ns, before.st_mode)
    assert list(tmp_path.iterdir()) == [canary]


def test_calls_past_namespaces_and_limits_do_not_exist(kind: str, mark: str) -> None:
    if not CALLS:
        pytest.skip(f"the numbers of the system calls of {os.uname().machine} are not known")
    assert len(CALLS) >= 50
    outcomes = _outcomes(CALLS)
    assert {name: outcome.why for name, outcome in outcomes.items() if not outcome.passed} == {}


def test_honest_programs_with_unusual_means_pass(kind: str, mark: str) -> None:
    judged = run([Program(source, TEST, "f") for source in UNUSUAL.values()], seconds=5)
    assert {name: outcome.why for name, outcome in zip(UNUSUAL, judged, strict=True) if not outcome.passed} == {}


def test_bubblewrap_may_lie_anywhere(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which("bwrap")
    if kind != "bubblewrap" or found is None:
        pytest.skip("needs bubblewrap")
    (tmp_path / "bwrap").symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run([HONEST])[0].passed


def test_a_bubblewrap_that_does_not_start_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bwrap").write_text("#!/no/such/program\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    sandbox._probe.cache_clear()
    try:
        assert sandbox._probe("bubblewrap") not in ("", "passed")
        monkeypatch.setattr(sandbox, "_probe", lambda kind: "no" if kind == "bubblewrap" else "passed")
        assert sandbox.enclosure() == "namespaces"
    finally:
        monkeypatch.undo()
        sandbox._probe.cache_clear()


def test_without_a_sandbox_the_same_programs_reach_the_files(tmp_path: Path) -> None:
    """The spies can tell: these tests are able to fail."""
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    spies = {"files of the user": SPIES["files of the user"], "other processes": SPIES["other processes"]}
    sources = [source.replace("{canary}", str(canary)) for source in spies.values()]
    outcomes = run([Program(source, TEST, "f") for source in sources], unsafe=True)
    assert not any(outcome.passed for outcome in outcomes)


def test_sixty_four_at_once_end_as_one_at_a_time(kind: str, mark: str) -> None:
    programs = [Program(f"def f(x): return sum(range({n})) % 2 + x", TEST, "f") for n in range(64)]
    outcomes = run(programs, workers=64, seconds=20)
    assert [outcome.passed for outcome in outcomes] == [sum(range(n)) % 2 == 1 for n in range(64)]


def test_numpy_can_be_imported_by_program_and_test(kind: str) -> None:
    program = "import numpy as np\ndef f(x): return [np.float64(x) * 2, np.int64(3), np.bool_(True)]"
    test = "import numpy as np\nassert np.allclose(f(1)[0], 2, rtol=1e-7)\nassert f(1)[1:] == [3, True]"
    assert run([Program(program, test, "f")]) == [Outcome(True, "passed")]


NUMBERS = """
import enum, numpy as np
from decimal import Decimal
from fractions import Fraction
class Colour(enum.IntEnum): RED = 2
class Word(enum.StrEnum): RED = "red"
class Flag(enum.IntFlag): A = 1; B = 2
def f(x): return {0: Colour.RED, 1: Word.RED, 2: Flag.B, 3: Fraction(1, 2), 4: Decimal("0.5"), 5: np.array(2.5),
                  6: [Colour.RED, np.array(3)], 7: np.array([1.5])}[x]
"""


def test_numbers_of_other_types_are_judged_by_their_value(kind: str) -> None:
    right = ["2", "'red'", "2", "0.5", "0.5", "2.5", "[2, 3]"]
    wrong = ["3", "'RED'", "1", "0.25", "0.25", "2", "[2, 2]"]
    tests = [f"assert f({place}) == {value}" for values in (right, wrong) for place, value in enumerate(values)]
    outcomes = run([Program(NUMBERS, test, "f") for test in tests])
    assert [outcome.passed for outcome in outcomes] == [True] * len(right) + [False] * len(wrong)
    assert run([Program(NUMBERS, "f(7)", "f")])[0].why == "not a plain value: a value of type ndarray"


def test_the_test_sees_exceptions_by_their_type(kind: str) -> None:
    program = "class Mine(Exception): pass\ndef f(x):\n    raise ValueError('no') if x else Mine('mine')"
    test = "try: f(1)\nexcept ValueError as error: assert str(error) == 'no'\nelse: assert False\n"
    other = "try: f(0)\nexcept Exception as error: assert str(error) == 'Mine: mine'\nelse: assert False\n"
    assert run([Program(program, test + other, "f")]) == [Outcome(True, "passed")]


def test_a_test_that_catches_everything_does_not_save_a_dead_program(kind: str) -> None:
    test = "try: f(1)\nexcept BaseException: pass"
    sources = ["import os\ndef f(x): os._exit(0)", "def f(x): return object()", "import os\nos._exit(0)"]
    outcomes = run([Program(source, test, "f") for source in sources])
    assert [outcome.passed for outcome in outcomes] == [False, False, False]


def test_a_test_that_calls_nothing_proves_nothing(kind: str) -> None:
    assert run([Program(HONEST.candidate, "assert True", "f")])[0].why == "the test never called the program"


def test_hostile_tests_are_shut_in_too(kind: str, mark: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    tests = [
        f"f(1)\nopen({str(canary)!r}, 'w')",
        "f(1)\nimport os; os._exit(0)",
        "f(1)\nwhile True: pass",
        "f(1)\nimport sys; sys.exit(0)",
        "f(1)\nimport os\nwhile True: os.write(4, b'x' * 10**6)",
    ]
    outcomes = run([Program(HONEST.candidate, test, "f") for test in tests], seconds=1)
    assert not any(outcome.passed for outcome in outcomes)
    assert not canary.exists()


def test_without_any_way_to_shut_in_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "has_bubblewrap", lambda: True)
    monkeypatch.setattr(sandbox, "_probe", lambda kind: "no result: the test ended")
    with pytest.raises(UserError, match=r"bubblewrap: no result.*namespaces: no result") as refused:
        run([HONEST])
    assert "unsafe=True" in refused.value.fix


def test_unsafe_runs_under_limits_only(mark: str) -> None:
    endless, memory = HOGS["endless loop"], HOGS["memory"]
    outcomes = run([HONEST, Program(endless, TEST, "f"), Program(memory, TEST, "f")], seconds=1, unsafe=True)
    assert [outcome.passed for outcome in outcomes] == [True, False, False]
    assert outcomes[1].why == "timed out after 1 s"


def test_a_time_that_is_no_time_is_refused() -> None:
    with pytest.raises(UserError):
        run([HONEST], seconds=0)
    assert run([]) == []
