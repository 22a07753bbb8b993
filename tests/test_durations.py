"""Durations: how a budget is given, divided among the stages, and shown as time left."""

import pytest

from layerlimits.errors import UserError
from layerlimits.progress import Bar, duration, seconds_of
from layerlimits.study.budget import Clock, check_budget, probe_seconds
from layerlimits.study.config import MAX_BUDGET_ITEMS, StudyConfig


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("12m", 720), ("2h", 7200), ("1h30m", 5400), ("0.5h", 1800), (" 1H ", 3600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["12", "", "m", "0m", "-3m", "1m2h", "1d", "nan", "1e3s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is not a duration"):
        seconds_of(text)


def test_durations_in_words() -> None:
    assert [duration(seconds) for seconds in (40, 720, 9000)] == ["40 seconds", "12 minutes", "2.5 hours"]


def test_a_budget_is_text_or_seconds() -> None:
    assert StudyConfig(budget="12m").budget == StudyConfig(budget=720.0).budget == 720
    for wrong in ("12 parsecs", 0.0, -1.0, float("nan")):
        with pytest.raises(UserError, match="budget"):
            StudyConfig(budget=wrong)


def test_a_budget_below_the_probe_is_refused() -> None:
    check_budget(None)
    check_budget(30.0)
    with pytest.raises(UserError, match="a budget of 5 seconds is shorter than the probe") as refused:
        check_budget(5.0)
    assert "5m" in refused.value.fix


def test_the_probe_takes_a_tenth_of_the_budget_and_at_most_a_minute() -> None:
    assert [probe_seconds(budget) for budget in (None, 300.0, 7200.0)] == [60, 30, 60]


def test_a_limit_caps_the_items_of_a_budget() -> None:
    assert StudyConfig().item_cap == 48
    assert StudyConfig(budget="10m").item_cap == MAX_BUDGET_ITEMS
    assert StudyConfig(budget="10m", limit=30).item_cap == 30


def test_unused_time_goes_to_later_stages_and_a_resumed_run_gets_what_is_left() -> None:
    now = [1000.0]
    clock = Clock(1000, spent=0, began=1000, now=lambda: now[0])
    stages = ("sweep", "rank", "prune", "recover", "speed")
    sweep = clock.share("sweep", stages[1:])
    assert sum(clock.share(stage, stages[place + 1 :]) for place, stage in enumerate(stages)) > clock.left
    now[0] += sweep / 2
    early = clock.share("rank", stages[2:])
    now[0] += sweep / 2
    assert early > clock.share("rank", stages[2:])
    assert clock.share("speed", ()) == clock.left
    resumed = Clock(1000, spent=700, began=2000, now=lambda: 2000)
    assert resumed.left == clock.budget - 40 - 700
    assert Clock(1000, spent=2000, began=2000, now=lambda: 2000).share("prune", ("speed",)) == 0


def test_the_time_left_is_the_remaining_work_at_the_measured_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("layerlimits.progress.time.perf_counter", lambda: now[0])
    with Bar(100.0, pace=1.0) as bar:
        assert bar.left_s == 100
        bar.skip(40.0)  # a resumed command has this already
        assert bar.left_s == 60
        now[0] = 20.0
        bar.advance(10.0)
        assert bar.left_s == pytest.approx(100)  # 50 units at 2 s
        now[0] = 30.0
        assert bar.left_s == pytest.approx(90)
        bar.plan(20.0)
        assert bar.left_s == pytest.approx(30)
    assert Bar(1.0).left_s is None
