"""Limits of triggers: automatic runs are rare, and never start twice for the same reason."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.triggers.limits import ACTIVE_STATES, PreviousRun, TriggersConfig, find_blocking_reason

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMITS = TriggersConfig(new_data=600.0, cooldown=3600.0, max_runs_per_day=2)


def build_run(hours_ago: float, key: str | None = None, state: str = "COMPLETED") -> PreviousRun:
    return PreviousRun(key, NOW - timedelta(hours=hours_ago), state)


def test_a_job_that_never_ran_may_start() -> None:
    assert find_blocking_reason("a", [], NOW, LIMITS) is None


@pytest.mark.parametrize(
    ("previous_runs", "message"),
    [
        ([build_run(40, "a")], "a run for the same reason is completed"),
        ([build_run(40, "a", "FAILED")], "a run for the same reason is failed"),
        ([build_run(9, "a", "CRASHED")] * 3, "3 runs for it crashed"),
        ([build_run(9, None, "RUNNING")], "a run of this job is active"),
        ([build_run(0, "b", "PENDING")], "a run of this job is active"),
        ([build_run(0.5)], "cooldown lasts until 2026-03-01 12:30 UTC"),
        ([build_run(5, "b"), build_run(9, "c")], "2 automatic runs in 24 hours"),
    ],
)
def test_each_limit_blocks_with_its_reason(previous_runs: list[PreviousRun], message: str) -> None:
    assert message in (find_blocking_reason("a", previous_runs, NOW, LIMITS) or "")


@pytest.mark.parametrize(
    "previous_runs",
    [
        [build_run(2, "b")],
        [build_run(2), build_run(3), build_run(4)],
        [build_run(25, "b"), build_run(26, "c"), build_run(27, "d")],
        [build_run(2, "a", "CRASHED")],
    ],
    ids=["after the cooldown", "started manually", "yesterday", "crashed once"],
)
def test_runs_outside_the_limits_do_not_block(previous_runs: list[PreviousRun]) -> None:
    assert find_blocking_reason("a", previous_runs, NOW, LIMITS) is None


runs = st.builds(
    build_run,
    st.floats(0, 60),
    st.sampled_from([None, "a", "b", "c"]),
    st.sampled_from(["COMPLETED", "FAILED", "CRASHED", *sorted(ACTIVE_STATES)]),
)


@given(previous_runs=st.lists(runs, max_size=8), another=runs)
def test_another_previous_run_never_unblocks(
    previous_runs: list[PreviousRun], another: PreviousRun
) -> None:
    if find_blocking_reason("a", previous_runs, NOW, LIMITS) is not None:
        assert find_blocking_reason("a", [*previous_runs, another], NOW, LIMITS) is not None


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"new_data": 59.0},
        {"drift": 60.0, "max_runs_per_day": 0},
        {"new_data": 60.0, "cooldown": -1.0},
    ],
)
def test_triggers_without_a_check_or_with_invalid_limits_are_refused(
    settings: dict[str, float],
) -> None:
    with pytest.raises(ValueError, match=r"give|below"):
        TriggersConfig(**settings)
