"""What a run prints at its end."""

from dataclasses import replace

from markdown_it import MarkdownIt
from pydantic import TypeAdapter

from flows.results.outcome import format_page, format_summary
from tasks.facts import ReportFacts
from tasks.gate_record import GateRecord
from tasks.records import Outcome
from tests.support.reports import GATE

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


def test_names_of_the_data_are_plain_text_on_the_page() -> None:
    image = "![x](http://evil.example/a.png)"
    facts = ReportFacts(
        headline="",
        decision="promote",
        reason="better",
        metric="mae",
        rows=90,
        metrics={"mae": 1.5},
        baselines={image: {"mae": 2.0}},
        best_baseline=image,
        champion=None,
        warnings=[],
        drift=None,
        gate=TypeAdapter(GateRecord).validate_python(GATE),
    )
    hostile = replace(
        OUTCOME, headline=image, reason=image, warnings=[image], advice=[image], serving=image
    )

    page = MarkdownIt("gfm-like", {"linkify": False}).render(format_page(hostile, facts))

    assert page.count("![x](http") >= 6
    assert "<img" not in page


def test_the_page_leaves_out_scores_that_a_baseline_does_not_have() -> None:
    facts = ReportFacts(
        headline="",
        decision="promote",
        reason="better",
        metric="mae",
        rows=90,
        metrics={"mae": 1.5, "coverage": 0.81},
        baselines={"last value": {"mae": 2.0}},
        best_baseline="last value",
        champion=None,
        gate=TypeAdapter(GateRecord).validate_python(GATE),
        warnings=[],
        drift=None,
    )

    page = format_page(replace(OUTCOME, metrics=facts.metrics), facts)

    row = next(line for line in page.splitlines() if "coverage" in line)
    assert row.endswith("| 0.8100 | - |")
