"""The brakes: a job that starts by itself starts rarely, and never twice for the same reason."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.triggers.limits import ACTIVE_STATES, PreviousRun, TriggersConfig, find_blocking_reason

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BRAKES = TriggersConfig(new_data=600.0, cooldown=3600.0, max_runs_per_day=2)


def ran(hours_ago: float, key: str | None = None, state: str = "COMPLETED") -> PreviousRun:
    return PreviousRun(key, NOW - timedelta(hours=hours_ago), state)


def test_a_job_that_never_ran_may_start() -> None:
    assert find_blocking_reason("a", [], NOW, BRAKES) is None


@pytest.mark.parametrize(
    ("past", "words"),
    [
        ([ran(40, "a")], "a run for the same reason is completed"),
        ([ran(40, "a", "FAILED")], "a run for the same reason is failed"),
        ([ran(9, "a", "CRASHED")] * 3, "3 runs for it crashed"),
        ([ran(9, None, "RUNNING")], "a run of this job is active"),
        ([ran(0, "b", "PENDING")], "a run of this job is active"),
        ([ran(0.5)], "cooldown lasts until 2026-03-01 12:30 UTC"),
        ([ran(5, "b"), ran(9, "c")], "2 automatic runs in 24 hours"),
    ],
)
def test_each_brake_holds_and_says_why(past: list[PreviousRun], words: str) -> None:
    assert words in (find_blocking_reason("a", past, NOW, BRAKES) or "")


@pytest.mark.parametrize(
    "past",
    [
        [ran(2, "b")],
        [ran(2), ran(3), ran(4)],
        [ran(25, "b"), ran(26, "c"), ran(27, "d")],
        [ran(2, "a", "CRASHED")],
    ],
    ids=["rested", "by hand", "yesterday", "crashed once"],
)
def test_what_is_no_reason_to_hold_does_not(past: list[PreviousRun]) -> None:
    assert find_blocking_reason("a", past, NOW, BRAKES) is None


runs = st.builds(
    ran,
    st.floats(0, 60),
    st.sampled_from([None, "a", "b", "c"]),
    st.sampled_from(["COMPLETED", "FAILED", "CRASHED", *sorted(ACTIVE_STATES)]),
)


@given(past=st.lists(runs, max_size=8), more=runs)
def test_more_past_never_lets_go_what_less_held_back(
    past: list[PreviousRun], more: PreviousRun
) -> None:
    if find_blocking_reason("a", past, NOW, BRAKES) is not None:
        assert find_blocking_reason("a", [*past, more], NOW, BRAKES) is not None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"new_data": 59.0},
        {"drift": 60.0, "max_runs_per_day": 0},
        {"new_data": 60.0, "cooldown": -1.0},
    ],
)
def test_triggers_that_never_look_or_never_rest_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"give|below"):
        TriggersConfig(**settings)
