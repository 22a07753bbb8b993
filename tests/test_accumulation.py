"""Does damage grow along an answer: accuracy by steps and length, the first wrong step, and departures."""

import pytest
from fake_run import answer
from findings import CUT, found, pick, two_models

# accumulation


def test_accuracy_by_steps_and_length() -> None:
    def solution(n: int, good: bool) -> object:
        return answer(f"i{n}", " ".join(["1 + 1 = 2"] * (1 + n // 4)), float(good))

    base = [solution(n, True) for n in range(8)]
    rows = found("accumulation", two_models(base, [solution(n, n < 4) for n in range(8)]))
    assert pick(rows, "right by steps", CUT.label, x=1).estimate == pytest.approx(1)
    assert pick(rows, "right by steps", CUT.label, x=2).estimate == pytest.approx(0)
    assert rows[0].estimate == pytest.approx(0)
    assert "losses grow with the length" not in rows[0].sentence or rows[0].n >= 4


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_first_wrong_step(step: int) -> None:
    text = ". ".join(f"{n} + 1 = {n + 1 + (n >= step)}" for n in range(1, 4))
    rows = found("accumulation", two_models([answer("a", "1 + 1 = 2", 1.0)], [answer("a", text)]))
    row = pick(rows, "first wrong step", CUT.label, x=step)
    assert row.estimate == pytest.approx(1)
    assert row.items == ("a",)


@pytest.mark.parametrize(
    ("base", "other", "kind"),
    [("so 12", "so 13", "digit"), ("a + b", "a - b", "operator"), ("the cat", "the dog", "prose")],
)
def test_where_an_answer_departs(base: str, other: str, kind: str) -> None:
    rows = found("accumulation", two_models([answer("a", base, 1.0)], [answer("a", other)]))
    assert pick(rows, f"departs at: {kind}", CUT.label).estimate == pytest.approx(1)
