"""The plots of a report: one for each kind of target, written as files that stand alone."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import TypeAdapter

from models.evaluation.predictions import (
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TextPredictions,
)
from tasks.gate_record import GainRecord
from tasks.report_record import Confusion, LabelScores, ReportRecord
from tasks.reporting.plots import (
    draw_errors,
    draw_forecasts,
    draw_gains,
    draw_learning_curve,
    draw_predictions,
    write_prediction_plots,
    write_report_plots,
)
from tests.support.reports import REPORT
from tests.support.svg import count_shapes, list_texts, parse_chart, parse_chart_file

REPORT_RECORD = TypeAdapter(ReportRecord).validate_python(REPORT)

TABLE = pl.DataFrame({"prediction": ["sun", None]})


def list_files(folder: Path) -> set[str]:
    for path in folder.glob("*.svg"):
        parse_chart_file(path)
    return {path.name for path in folder.iterdir()}


def test_a_report_has_the_plots_of_what_it_holds(tmp_path: Path) -> None:
    label = LabelScores(label="sun", rows=3, precision=0.5, recall=0.5, f1=0.5)
    confusion = Confusion(classes=["a"], counts=[[3]])
    full = replace(REPORT_RECORD, confusion=confusion, by_label=[label])

    for name, report in (("few", REPORT_RECORD), ("all", full)):
        (tmp_path / name).mkdir()
        write_report_plots(tmp_path / name, report, best_epoch=1)

    few = {"learning_curve.svg", "gate.svg"}
    assert list_files(tmp_path / "few") == few
    assert list_files(tmp_path / "all") == few | {"confusion.svg", "tags.svg"}


@pytest.mark.parametrize(
    ("predictions", "files"),
    [
        (SinglePredictions(np.arange(9.0), np.arange(9.0), np.ones(9), 0), {"predictions.svg"}),
        (SinglePredictions(np.zeros(9), np.zeros(9), np.ones(9), 2), set()),
        (SelfSupervisedErrors(np.arange(9.0), np.ones(9)), {"errors.svg"}),
    ],
    ids=["numbers", "categories", "self-supervised"],
)
def test_single_predictions_have_the_plot_of_their_kind(
    predictions: Predictions, files: set[str], tmp_path: Path
) -> None:
    write_prediction_plots(tmp_path, predictions, column="kW", targets=None, prediction_table=TABLE)

    assert list_files(tmp_path) == files


def test_predicted_texts_are_written_with_their_targets(tmp_path: Path) -> None:
    nothing = np.zeros(2)
    predictions = TextPredictions(
        nothing == 0, *[nothing] * 4, *[np.zeros((2, 4))] * 2, *[nothing] * 2
    )

    write_prediction_plots(
        tmp_path,
        predictions,
        column="y",
        targets=pl.Series(["sun", "rain"]),
        prediction_table=TABLE,
    )

    assert json.loads((tmp_path / "texts.json").read_text(encoding="utf-8")) == [
        {"target": "sun", "prediction": "sun"},
        {"target": "rain", "prediction": None},
    ]


def test_a_learning_curve_marks_the_best_epoch() -> None:
    texts = list_texts(parse_chart(draw_learning_curve(REPORT_RECORD.history, 2)))

    assert {"Learning curve", "training", "validation", "best: epoch 2", "epoch"} <= set(texts)


def test_gains_are_drawn_with_the_bound_that_they_have_to_exceed() -> None:
    gain = GainRecord(
        name="champion demo v3",
        is_champion=True,
        rows=1234,
        gain=0.1,
        low=0.0,
        high=0.2,
        score=0.9,
        reference_score=0.8,
    )
    gate = replace(
        REPORT_RECORD.gate, mode="non-inferiority", margin=0.02, champion=gain.name,
        comparisons=[gain],
    )  # fmt: skip

    texts = list_texts(parse_chart(draw_gains(gate)))

    assert texts[:2] == ["promote: gain with its 95% interval", "bound -0.02"]
    assert {"over champion demo v3", "1,234 rows", "gain in accuracy (more is better)"} <= {*texts}


def test_a_decision_without_a_gain_has_a_plot_that_says_so() -> None:
    gain = GainRecord(
        name="x",
        is_champion=False,
        rows=9,
        gain=None,
        low=None,
        high=None,
        score=0.9,
        reference_score=None,
    )

    texts = list_texts(parse_chart(draw_gains(replace(REPORT_RECORD.gate, comparisons=[gain]))))

    assert texts == ["promote: gain with its 95% interval", "No gain could be computed."]


def test_a_scatter_plot_of_many_rows_shows_some_and_says_how_many() -> None:
    target_R = np.linspace(0, 1, 20_000)
    prediction_R = np.where(np.arange(20_000) % 2, target_R, np.nan)

    chart = draw_predictions(target_R, prediction_R, "kW")

    root = parse_chart(chart)
    assert "1,500 of 10,000 rows, evenly spaced." in list_texts(root)
    assert 1500 <= count_shapes(root, "circle") <= 1510
    assert len(chart) < 100_000
    assert draw_predictions(target_R, np.full(20_000, np.nan), "kW") is None


def test_errors_that_are_not_finite_are_left_out_of_the_histogram() -> None:
    chart = draw_errors(np.array([0.1, 0.1, 0.4, np.nan, np.inf]))

    assert count_shapes(parse_chart(chart), "path", "column") == 1
    assert draw_errors(np.array([np.nan])) is None


@pytest.mark.parametrize(("levels", "bands"), [((0.1, 0.5, 0.9), 6), ((0.5,), 0)])
def test_six_forecasts_are_drawn_with_their_interval(levels: tuple[float, ...], bands: int) -> None:
    target_RT = np.arange(60.0).reshape(20, 3)
    target_RT[0, 1] = np.nan
    quantiles = tuple(target_RT + level for level in levels)

    chart = draw_forecasts(ForecastSteps(target_RT, target_RT, quantiles, levels), "kW")

    root = parse_chart(chart)
    assert count_shapes(root, "polygon", "band") == bands
    assert ("80% interval" in list_texts(root)) == bool(bands)
    assert list_texts(root).count("steps ahead") == 6
    assert "6 of 20 test rows, evenly spaced." in list_texts(root)
