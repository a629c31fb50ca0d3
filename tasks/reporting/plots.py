"""Pictures of a report, drawn without a screen."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.predictions import Steps

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_NAMED = 30
"""Classes up to which a confusion matrix has their names and counts."""

SHOWN_FORECASTS = 6

INK = "#1f4e79"
ACCENT = "#c8553d"


def blank(width: float, height: float) -> "Figure":
    """Begin a picture of so many inches; what draws is imported here, as it takes a second."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def learning_curve(history: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw training and validation loss by epoch, and mark the epoch that was kept."""
    figure = blank(7, 4)
    axes = figure.subplots()
    epochs = [entry["epoch"] + 1 for entry in history]
    validation = [entry["validation_loss"] for entry in history]
    axes.plot(epochs, [entry["training_loss"] for entry in history], color=INK, label="training")
    axes.plot(epochs, validation, color=ACCENT, label="validation")
    best = int(np.argmin(validation))
    axes.axvline(epochs[best], color="grey", linestyle=":", label=f"kept: epoch {epochs[best]}")
    axes.set(xlabel="epoch", ylabel="loss", title="Learning curve")
    axes.legend(frameon=False)
    write(figure, path)


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str], path: Path) -> None:
    """Draw how often each class (a row) was answered as each class (a column), by share."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(14.0, 3.5 + 0.45 * min(len(classes), MAX_NAMED))
    figure = blank(side, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="answered", ylabel="true", title="Confusion on the test rows")
    if len(classes) <= MAX_NAMED:
        places = range(len(classes))
        axes.set_xticks(places, [str(name)[:16] for name in classes], rotation=90)
        axes.set_yticks(places, [str(name)[:16] for name in classes])
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "white" if shares[row, column] > 0.5 else "black"
            label = str(counts[row, column])
            axes.text(column, row, label, ha="center", va="center", color=shade, fontsize=8)
    write(figure, path)


def answers_against_truth(
    truth: NDArray[np.float64], answers: NDArray[np.float64], name: str, path: Path
) -> None:
    """Draw each answer over its truth; a perfect model lies on the line."""
    figure = blank(6, 6)
    axes = figure.subplots()
    axes.scatter(truth, answers, s=8, alpha=0.5, color=INK, linewidths=0)
    ends = [float(np.nanmin(truth)), float(np.nanmax(truth))]
    axes.plot(ends, ends, color=ACCENT, linewidth=1)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", title="Answers on the test rows")
    write(figure, path)


def bars(values: Mapping[str, float], name: str, path: Path) -> None:
    """Draw a bar for each name, the highest first."""
    ordered = sorted(values.items(), key=lambda entry: entry[1], reverse=True)[:MAX_NAMED]
    figure = blank(7, 1 + 0.3 * len(ordered))
    axes = figure.subplots()
    places = range(len(ordered))
    axes.barh(places, [value for _, value in ordered], color=INK)
    axes.set_yticks(places, [label[:30] for label, _ in ordered])
    axes.invert_yaxis()
    axes.set(xlabel=name, xlim=(0, 1), title="On the test rows")
    write(figure, path)


def histogram(values_R: NDArray[np.float64], name: str, path: Path) -> None:
    """Draw how often each value comes, on a logarithmic scale."""
    figure = blank(7, 4)
    axes = figure.subplots()
    axes.hist(values_R[np.isfinite(values_R)], bins=60, color=INK, log=True)
    axes.set(xlabel=name, ylabel="sequences", title="On the test rows")
    write(figure, path)


def forecasts(steps: Steps, name: str, path: Path) -> None:
    """Draw some forecasts over what came, spread evenly over the test rows."""
    rows = np.unique(np.linspace(0, len(steps.truth_RT) - 1, SHOWN_FORECASTS).round().astype(int))
    figure = blank(11, 6)
    panels = figure.subplots(2, -(-SHOWN_FORECASTS // 2), squeeze=False).ravel()
    ahead = np.arange(1, steps.truth_RT.shape[1] + 1)
    for axes, row in zip(panels, rows, strict=False):
        if len(steps.levels) > 1:
            low, high = (
                quantile_RT[row] for quantile_RT in steps.quantiles_QRT[:: len(steps.levels) - 1]
            )
            axes.fill_between(ahead, low, high, color=ACCENT, alpha=0.2, linewidth=0)
        axes.plot(ahead, steps.truth_RT[row], color=INK, label="came")
        axes.plot(ahead, steps.answer_RT[row], color=ACCENT, label="foretold")
    panels[0].legend(frameon=False)
    figure.supxlabel("steps ahead")
    figure.supylabel(name)
    write(figure, path)


def write(figure: "Figure", path: Path) -> None:
    """Render to PNG, without the date that would make equal pictures differ."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=110, metadata={"Software": None})
