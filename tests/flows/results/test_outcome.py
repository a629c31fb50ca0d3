"""What a run prints at its end."""

from dataclasses import replace

from flows.results.outcome import format_summary
from tasks.records import Outcome

OUTCOME = Outcome(
    job="demo",
    version="3",
    decision="keep",
    reason="the challenger does not beat the ridge baseline",
    metrics={"mae": 1.5, "rmse": 2.0},
    baseline={"name": "ridge", "mae": 1.4},
    recomputed=["train"],
    seconds=12.34,
    links={},
    headline="The network does not beat the best baseline",
    warnings=["5 validation rows are too few"],
    test_rows=378,
    advice=["the best epoch is the last of 12", "try --preset best"],
)


def test_the_summary_says_what_was_decided_why_and_what_to_try() -> None:
    assert format_summary(OUTCOME).splitlines() == [
        "demo version 3: keep",
        "  The network does not beat the best baseline",
        "  warning: 5 validation rows are too few",
        "  why       the challenger does not beat the ridge baseline",
        "  advice    the best epoch is the last of 12",
        "  advice    try --preset best",
        "  metrics   mae 1.5000, rmse 2.0000 on all 378 test rows",
        "  baseline  ridge, 1.4000 on the same rows",
        "  done      train (12.3 s)",
    ]


def test_the_summary_says_which_baseline_serves() -> None:
    serving = "ridge as version 4, because the network did not beat it"

    lines = format_summary(replace(OUTCOME, serving=serving)).splitlines()

    assert lines[4] == f"  serving   {serving}"
