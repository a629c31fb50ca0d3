"""Plots of a report as PNG files, drawn without a display."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import ForecastSteps
from tasks.report_record import EpochRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_LABELS = 30
"""Classes up to which a confusion matrix has their names and counts."""

FORECASTS_SHOWN = 6

INK = "#1f4e79"
ACCENT = "#c8553d"


def create_figure(width: float, height: float) -> "Figure":
    """Begin a picture of so many inches; what draws is imported here, as it takes a second."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def draw_learning_curve(history: Sequence[EpochRecord], path: Path) -> None:
    """Draw training and validation loss by epoch, and mark the best epoch."""
    figure = create_figure(7, 4)
    axes = figure.subplots()
    epochs = [entry.epoch + 1 for entry in history]
    validation = [entry.validation_loss for entry in history]
    axes.plot(epochs, [entry.training_loss for entry in history], color=INK, label="training")
    axes.plot(epochs, validation, color=ACCENT, label="validation")
    best = int(np.argmin(validation))
    axes.axvline(epochs[best], color="grey", linestyle=":", label=f"best: epoch {epochs[best]}")
    axes.set(xlabel="epoch", ylabel="loss", title="Learning curve")
    axes.legend(frameon=False)
    save_figure(figure, path)


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Draw how often each true class (row) was predicted as each class (column), by share."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.5 + 0.45 * min(len(classes), MAX_LABELS))
    figure = create_figure(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted class", ylabel="true class", title="Confusion on the test rows")
    if len(classes) <= MAX_LABELS:
        places = range(len(classes))
        axes.set_xticks(places, [str(name)[:16] for name in classes], rotation=90)
        axes.set_yticks(places, [str(name)[:16] for name in classes])
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "white" if shares[row, column] > 0.5 else "black"
            label = str(counts[row, column])
            axes.text(column, row, label, ha="center", va="center", color=shade, fontsize=8)
    save_figure(figure, path)


def draw_predictions(
    targets: NDArray[np.float64], predictions: NDArray[np.float64], name: str, path: Path
) -> None:
    """Draw each prediction over its target; those of a perfect model lie on the line."""
    figure = create_figure(6, 6)
    axes = figure.subplots()
    axes.scatter(targets, predictions, s=8, alpha=0.5, color=INK, linewidths=0)
    ends = [float(np.nanmin(targets)), float(np.nanmax(targets))]
    axes.plot(ends, ends, color=ACCENT, linewidth=1)
    axes.set(
        xlabel=f"true {name}", ylabel=f"predicted {name}", title="Predictions of the test rows"
    )
    save_figure(figure, path)


def draw_bars(values: Mapping[str, float], name: str, path: Path) -> None:
    """Draw a bar for each name, the highest first."""
    ordered = sorted(values.items(), key=lambda entry: entry[1], reverse=True)[:MAX_LABELS]
    figure = create_figure(7, 1 + 0.3 * len(ordered))
    axes = figure.subplots()
    places = range(len(ordered))
    axes.barh(places, [value for _, value in ordered], color=INK)
    axes.set_yticks(places, [label[:30] for label, _ in ordered])
    axes.invert_yaxis()
    axes.set(xlabel=name, xlim=(0, 1), title="On the test rows")
    save_figure(figure, path)


def draw_histogram(values_R: NDArray[np.float64], name: str, path: Path) -> None:
    """Draw how often each value comes, on a logarithmic scale."""
    figure = create_figure(7, 4)
    axes = figure.subplots()
    axes.hist(values_R[np.isfinite(values_R)], bins=60, color=INK, log=True)
    axes.set(xlabel=name, ylabel="sequences", title="On the test rows")
    save_figure(figure, path)


def draw_forecasts(steps: ForecastSteps, name: str, path: Path) -> None:
    """Draw some forecasts with their targets, spread evenly over the test rows."""
    rows = np.unique(np.linspace(0, len(steps.target_RT) - 1, FORECASTS_SHOWN).round().astype(int))
    figure = create_figure(11, 6)
    panels = figure.subplots(2, -(-FORECASTS_SHOWN // 2), squeeze=False).ravel()
    ahead = np.arange(1, steps.target_RT.shape[1] + 1)
    for axes, row in zip(panels, rows, strict=False):
        if len(steps.levels) > 1:
            low, high = (
                quantile_RT[row] for quantile_RT in steps.quantiles_QRT[:: len(steps.levels) - 1]
            )
            axes.fill_between(ahead, low, high, color=ACCENT, alpha=0.2, linewidth=0)
        axes.plot(ahead, steps.target_RT[row], color=INK, label="target")
        axes.plot(ahead, steps.prediction_RT[row], color=ACCENT, label="prediction")
    panels[0].legend(frameon=False)
    figure.supxlabel("steps ahead")
    figure.supylabel(name)
    save_figure(figure, path)


def save_figure(figure: "Figure", path: Path) -> None:
    """Render to PNG, without the date that would make equal pictures differ."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110, metadata={"Software": None})
