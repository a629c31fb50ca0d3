"""The plots of a report: each is drawn by one function, for the page and for MLflow's artifacts.

Shapes: R test rows, T steps ahead, Q quantiles.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from markupsafe import Markup
from numpy.typing import NDArray

from models.evaluation.predictions import (
    ForecastPredictions,
    ForecastSteps,
    Predictions,
    SelfSupervisedErrors,
    SinglePredictions,
    TextPredictions,
)
from tasks.gate_record import GateRecord
from tasks.report_record import Confusion, EpochRecord, LabelScores, ReportRecord
from tasks.reporting.charts.axes import Axis
from tasks.reporting.charts.matrix import draw_confusion_matrix
from tasks.reporting.charts.plots import (
    Band,
    Columns,
    Curve,
    Layer,
    Plot,
    Points,
    draw_panels,
    draw_plot,
)
from tasks.reporting.charts.rows import Bound, Interval, draw_bars, draw_intervals
from tasks.reporting.charts.svg import draw_message, write_svg
from tasks.reporting.example_rows import take_evenly

PREDICTION_PLOTS = ("predictions", "forecasts", "errors")
"""Names of the plots that show single rows; the report holds no figures of them."""

_MAX_POINTS = 1500
"""Points of a scatter plot; of more rows some are drawn, evenly spaced."""

_FORECASTS_SHOWN = 6

_BINS = 60
"""Columns of a histogram."""

_MAX_TEXTS = 50
"""Predicted texts that are written to a file with their targets."""

Floats = NDArray[np.float64]


def write_report_plots(folder: Path, report: ReportRecord, *, best_epoch: int) -> None:
    """Write the plots of what the report holds, as SVG files for MLflow."""
    charts = {
        "learning_curve": draw_learning_curve(report.history, best_epoch),
        "gate": draw_gains(report.gate),
        "confusion": draw_confusion(report.confusion) if report.confusion else None,
        "tags": draw_label_scores(report.by_label) if report.by_label else None,
    }
    _write_charts(folder, charts)


def write_prediction_plots(
    folder: Path,
    predictions: Predictions,
    *,
    column: str,
    targets: pl.Series | None,
    prediction_table: pl.DataFrame,
) -> None:
    """Write what shows single predictions: a plot as an SVG file, or some texts as JSON.

    Args:
        folder: the report's.
        predictions: with the targets.
        column: name of the target.
        targets: of the test rows, as the source has them; None where there is no target.
        prediction_table: the predictions, one row for each test row.
    """
    if isinstance(predictions, SinglePredictions) and not predictions.num_classes:
        chart = draw_predictions(predictions.target_R, predictions.prediction_R, column)
        _write_charts(folder, {"predictions": chart})
    if isinstance(predictions, ForecastPredictions):
        _write_charts(folder, {"forecasts": draw_forecasts(predictions.steps, column)})
    if isinstance(predictions, SelfSupervisedErrors):
        _write_charts(folder, {"errors": draw_errors(predictions.error_R)})
    if isinstance(predictions, TextPredictions):
        shown = pl.DataFrame({"target": targets, "prediction": prediction_table["prediction"]})
        pairs = shown.head(_MAX_TEXTS).to_dicts()
        text = json.dumps(pairs, indent=2, ensure_ascii=False)
        (folder / "texts.json").write_text(text, encoding="utf-8")


def draw_learning_curve(history: Sequence[EpochRecord], best_epoch: int | None) -> Markup | None:
    """Draw training and validation loss by epoch, and mark the best epoch, counted from 1."""
    epochs = [entry.epoch + 1 for entry in history]
    layers = [
        Curve("training", epochs, [entry.training_loss for entry in history], "a"),
        Curve("validation", epochs, [entry.validation_loss for entry in history], "b"),
    ]
    plot = Plot(
        layers=layers,
        x_axis=Axis("epoch", is_whole=True),
        y_axis=Axis("loss"),
        title="Learning curve",
        mark=None if best_epoch is None else (best_epoch, f"best: epoch {best_epoch}"),
    )
    return draw_plot(plot)


def draw_gains(gate: GateRecord) -> Markup:
    """Draw the gain over each model with its interval, and the bound that it has to exceed.

    The bound is that of the interval over the champion, or of a first version over the best
    baseline. Over a baseline the gain of a later version has to be above 0.
    """
    title = f"{gate.decision}: gain with its {gate.confidence:.0%} interval"
    rows = [
        Interval(
            f"over {each.name}",
            each.gain,
            each.low,
            each.high,
            "a" if each.is_champion else "b",
            f"{each.rows:,} rows",
        )
        for each in gate.comparisons
        if each.gain is not None
    ]
    chart = draw_intervals(
        rows,
        label=title,
        title=title,
        x_name=f"gain in {gate.metric} (more is better)",
        has_zero=True,
        bound=Bound(gate.bound, f"bound {gate.bound:+.3g}"),
    )
    return chart or draw_message(title, "No gain could be computed.")


def draw_confusion(confusion: Confusion) -> Markup | None:
    """Draw how often each class was predicted as each class; None where there is no row."""
    counts_KK = np.array(confusion.counts, np.int64)
    if not counts_KK.size:
        return None
    names = [str(name) for name in confusion.classes]
    return draw_confusion_matrix(counts_KK, names, title="Confusion on the test rows")


def draw_label_scores(labels: Sequence[LabelScores]) -> Markup | None:
    """Draw the F1 of each label."""
    scores = {each.label: each.f1 for each in labels}
    return draw_bars(scores, title="F1 of each label on the test rows", x_name="F1", high=1.0)


def draw_predictions(target_R: Floats, prediction_R: Floats, column: str) -> Markup | None:
    """Draw each prediction over its target; those of a perfect model lie on the line."""
    known = np.flatnonzero(np.isfinite(target_R) & np.isfinite(prediction_R))
    if not len(known):
        return None
    shown = take_evenly(known, _MAX_POINTS)
    ends = [float(target_R[known].min()), float(target_R[known].max())]
    layers: list[Layer] = [
        Points("test rows", target_R[shown].tolist(), prediction_R[shown].tolist(), "a"),
        Curve("target = prediction", ends, ends, "b"),
    ]
    note = f"{len(shown):,} of {len(known):,} rows, evenly spaced."
    plot = Plot(
        layers=layers,
        x_axis=Axis(f"true {column}"),
        y_axis=Axis(f"predicted {column}"),
        title="Predictions of the test rows",
        note=note if len(shown) < len(known) else "",
    )
    return draw_plot(plot, width=520, height=480)


def draw_errors(error_R: Floats) -> Markup | None:
    """Draw how many sequences have which error, on a logarithmic scale."""
    known_R = error_R[np.isfinite(error_R)]
    if not len(known_R):
        return None
    counts, edges = np.histogram(known_R, bins=_BINS)
    plot = Plot(
        layers=[Columns(edges.tolist(), counts.tolist())],
        x_axis=Axis("error of a sequence"),
        y_axis=Axis("sequences", is_log=True, limits=(0.7, 1.4 * float(counts.max()))),
        title="Errors of the test rows",
    )
    return draw_plot(plot)


def draw_forecasts(steps: ForecastSteps, column: str) -> Markup | None:
    """Draw some forecasts with their targets, evenly spaced over the test rows.

    Of several columns each picture shows another one.
    """
    rows = take_evenly(np.arange(len(steps.target_RT)), _FORECASTS_SHOWN)
    names = steps.columns.names if steps.columns else (column,)
    ahead = list(range(1, steps.target_RT.shape[1] // len(names) + 1))
    by_column = [steps.select_numbers(slice(i, None, len(names))) for i in range(len(names))]
    plots = []
    for index, row in enumerate(rows.tolist()):
        own, name = by_column[index % len(names)], names[index % len(names)]
        layers: list[Layer] = []
        if len(own.levels) > 1:
            low_T, high_T = own.quantiles_QRT[0][row], own.quantiles_QRT[-1][row]
            share = f"{own.levels[-1] - own.levels[0]:.0%} interval"
            layers.append(Band(share, ahead, low_T.tolist(), high_T.tolist(), "b"))
        layers.append(Curve("target", ahead, own.target_RT[row].tolist(), "a"))
        layers.append(Curve("prediction", ahead, own.prediction_RT[row].tolist(), "b"))
        x_axis = Axis("steps ahead", is_whole=True)
        plots.append(Plot(layers=layers, x_axis=x_axis, y_axis=Axis(name)))
    note = f"{len(rows)} of {len(steps.target_RT):,} test rows, evenly spaced."
    return draw_panels(plots, title="Forecasts of some test rows", note=note)


def _write_charts(folder: Path, charts: dict[str, Markup | None]) -> None:
    """Write each chart that there is under its name."""
    for name, chart in charts.items():
        if chart is not None:
            write_svg(chart, folder / f"{name}.svg")
