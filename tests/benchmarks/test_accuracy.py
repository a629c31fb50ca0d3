"""The references and the table of `accuracy.py`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from models.features.splitting.split import TEST, TRAINING
from tests.benchmarks.accuracy import (
    find_error_line,
    identify,
    list_runs,
    parse_arguments,
    read_results,
    select_offered_options,
)
from tests.benchmarks.accuracy_references import (
    Windows,
    compute_forecast_errors,
    forecast_naive,
    read_windows,
    score_forecast_references,
    score_text_reference,
)
from tests.benchmarks.accuracy_table import format_summary, format_table


def cut_windows(values: list[float], *, lookback: int, ahead: list[int], season: int) -> Windows:
    """Cut windows of one series; the last ten are test windows."""
    last = np.arange(lookback - 1, len(values) - max(ahead))
    entities = np.zeros(len(values), np.int64)
    return Windows(
        np.array(values), entities, last[:-10], last[-10:], lookback, np.array(ahead), season
    )


def build_record(**changes: Any) -> dict[str, Any]:
    """Return a run of a forecast."""
    record = {
        "dataset": "sales",
        "preset": "quick",
        "seed": 7,
        "init": [],
        "settings": [],
        "timeout": 10.0,
        "missing_options": [],
        "error": None,
        "scores": {"mae": 2.0, "rmse": 3.0},
        "baselines": {"mean": {"mae": 9.0}, "ridge regression": {"mae": 2.5}},
        "references": {"last value": {"mae": 4.0, "mse": 16.0}},
        "decision": "keep",
        "parts": {"recurrent alone (0.25)": {"mae": 2.2}},
        "recurrent_weight": 0.25,
        "seconds": 10.0,
        "cpu_seconds": 12.0,
    }
    return record | changes


def test_the_seasonal_naive_forecast_is_exact_for_a_repeating_series() -> None:
    windows = cut_windows([1.0, 2.0, 5.0] * 20, lookback=6, ahead=[1, 2, 3, 4], season=3)

    scores = score_forecast_references(windows)

    assert scores["seasonal naive"] == {"mae": 0.0, "mse": 0.0, "smape": 0.0}
    assert scores["last value"]["mae"] > 1
    assert scores["ridge on the look-back"]["mae"] < 0.01


def test_a_naive_forecast_never_uses_another_entity() -> None:
    values, entities = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 30.0]), np.array([0, 0, 0, 1, 1, 1])
    windows = Windows(
        values, entities, np.array([], np.int64), np.array([4]), 2, np.array([1]), season=4
    )

    assert forecast_naive(windows, season=4).tolist() == [[20.0]]
    assert forecast_naive(windows, season=2).tolist() == [[10.0]]


def test_forecast_errors_are_means_over_windows_and_steps() -> None:
    errors = compute_forecast_errors(np.array([[1.0, 0.0]]), np.array([[3.0, 0.0]]))

    assert errors == {"mae": 1.0, "mse": 2.0, "smape": 50.0}


def test_windows_are_read_from_an_unsorted_file(tmp_path: Path) -> None:
    pl.DataFrame({"day": [3, 1, 2, 4], "y": [30.0, 10.0, None, 40.0]}).write_parquet(
        tmp_path / "y.parquet"
    )
    sequences = pl.DataFrame({"row": [2, 0], "split": [TRAINING, TEST], "target": [30.0, 40.0]})
    settings = {
        "layout": {"time": "day", "entity": None, "window": {"lookback": 2, "horizon": 1}},
        "target": {"column": "y", "kind": "number"},
    }

    windows = read_windows(tmp_path / "y.parquet", sequences, settings, season=1)

    assert windows.values_N.tolist() == [10.0, 10.0, 30.0, 40.0]
    assert (windows.learned_R.tolist(), windows.test_R.tolist()) == ([1], [2])


def test_the_text_reference_is_scored_on_test_rows() -> None:
    rows = pl.DataFrame(
        {
            "text": ["good film", "bad film", "good", "bad"] * 3 + ["good day", "bad day"],
            "label": ["+", "-"] * 6 + ["+", "+"],
            "split_code": [TRAINING] * 12 + [TEST] * 2,
        }
    )

    assert score_text_reference(rows, text="text", target="label", analyzer="word") == 0.5


def test_a_row_of_the_table_has_means_of_the_seeds_and_the_gain_over_the_best_reference() -> None:
    other = build_record(
        seed=8,
        scores={"mae": 2.2, "rmse": 3.0},
        decision="promote",
        parts={"recurrent alone (0.75)": {"mae": 2.4}},
        recurrent_weight=0.75,
    )

    row = format_table([build_record(), other]).splitlines()[-1]

    assert row.startswith(
        "| sales | quick | mae | 2.100 (sd 0.141) | report's ridge regression 2.5"
    )
    assert "last value 4.000 | +0.400 |" in row
    assert "keep (1), promote (1) | recurrent 2.300 | 0.50 | 10 | 12 |" in row


def test_a_failed_run_is_a_row_with_its_error() -> None:
    failed = {name: build_record()[name] for name in ("dataset", "preset", "seed", "settings")}
    failed |= {"error": "DataError: no time | column", "missing_options": ["--horizon"]}

    row = format_table([failed]).splitlines()[-1]

    assert "| failed |" in row
    assert row.endswith("init has no --horizon; seed 7: DataError: no time / column |")
    assert row.count("|") == format_table([]).splitlines()[0].count("|")
    assert format_summary([failed]) == ""


def test_the_summary_counts_runs_that_are_at_least_level() -> None:
    scores = {"accuracy": {"accuracy": 0.75}}
    runs = [
        build_record(scores={"accuracy": value}, baselines=scores, references={})
        for value in (0.5, 0.75)
    ]

    assert format_summary(runs) == (
        "quick: mean accuracy 0.6250 beside 0.7500 of the best references; "
        "1 of 2 runs are at least level"
    )


def test_options_that_init_does_not_have_are_left_out() -> None:
    help_text = "  --target TEXT  Column to predict.\n  --time TEXT  Column.\n"

    offered = select_offered_options(("--target", "y", "--tim", "t", "--horizon", "3"), help_text)

    assert offered == (["--target", "y"], ["--tim", "--horizon"])


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("start\nDataError: no column\nHint: convert it\n", "DataError: no column"),
        ("start\nKilled\n\n", "Killed"),
        ("", "no output"),
    ],
)
def test_the_error_of_a_command_is_the_line_that_names_it(output: str, line: str) -> None:
    assert find_error_line(output) == line


def test_a_run_is_recognized_in_the_results_by_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "sales.parquet").touch()
    arguments = ["--data", str(tmp_path), "--presets", "quick", "--timeout", "10"]
    (run,) = list_runs(parse_arguments(arguments), "")
    lines = [build_record(error="failed"), build_record(), build_record(seed=8)]
    path = tmp_path / "results.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    results = read_results(path)

    assert results[identify(run)]["error"] is None
    assert len(results) == 2
