"""The report of a search: plots, and a page with the best trials."""

import base64
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.reporting.plots import ACCENT, INK, create_figure, save_figure
from tasks.tuning.search_space import Domain, Range
from tasks.tuning.trials import Trial, compute_cost, find_best_trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study

PLOT_FILES = ("history.png", "importance.png", "slices.png")

_PANELS_PER_ROW = 3
"""Panels in one row of the slice plot."""

_MAX_LISTED_TRIALS = 10
"""Trials on the page."""

_MIN_COMPLETE_TRIALS = 4
"""Complete trials from which on importance is computed, and axes are limited."""

_GREY = "#9aa5b1"


def draw_study(
    folder: Path,
    trials: Sequence[Trial],
    study: "Study",
    *,
    space: Mapping[str, Domain],
    metric: str,
) -> dict[str, float]:
    """Draw the three plots into the folder; return the importance of each setting."""
    shares = _compute_importance(study)
    _draw_history(trials, metric, folder / PLOT_FILES[0])
    _draw_importance(shares, metric, folder / PLOT_FILES[1])
    _draw_slices(trials, space, metric, folder / PLOT_FILES[2])
    return shares


def _compute_importance(study: "Study") -> dict[str, float]:
    """Compute the importance of each setting, in shares of 1 (PED-ANOVA, Watanabe et al. 2023).

    Settings that only some cells have are included. Empty where few trials are complete.
    """
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < _MIN_COMPLETE_TRIALS:
        return {}
    with warnings.catch_warnings():
        # Optuna warns where trials are so few, or so alike, that all settings come out equal.
        warnings.simplefilter("ignore")
        return get_param_importances(study)


def _draw_history(trials: Sequence[Trial], metric: str, path: Path) -> None:
    """Draw the value of each trial in their order, and the best so far."""
    figure = create_figure(7, 4)
    axes = figure.subplots()
    ended = [trial for trial in trials if trial.state == "complete"]
    early = [trial for trial in trials if trial.state != "complete" and trial.value is not None]
    _scatter_points(axes, [(t.number, t.value) for t in early], _GREY, "ended early")
    _scatter_points(axes, [(t.number, t.value) for t in ended], INK, "trained to the end")
    bests = [find_best_trial(ended[: count + 1], metric) for count in range(len(ended))]
    steps = [best.value for best in bests if best and best.value is not None]
    axes.step([t.number for t in ended], steps, where="post", color=ACCENT, label="best so far")
    axes.set(xlabel="trial", ylabel=_format_metric_name(metric), title="Trials in their order")
    _set_value_limits(axes, [trial.value for trial in ended if trial.value is not None])
    axes.legend(frameon=False)
    save_figure(figure, path)


def _draw_importance(shares: Mapping[str, float], metric: str, path: Path) -> None:
    """Draw the importance of each setting as a bar, the highest first."""
    ordered = sorted(shares.items(), key=lambda entry: entry[1], reverse=True)
    figure = create_figure(7, 1.8 + 0.3 * max(1, len(ordered)))
    axes = figure.subplots()
    axes.barh(range(len(ordered)), [share for _, share in ordered], color=INK)
    axes.set_yticks(range(len(ordered)), [key for key, _ in ordered])
    axes.invert_yaxis()
    axes.set(
        xlabel=f"share of what moves the {_format_metric_name(metric)}",
        title="Which settings matter",
    )
    if not ordered:
        axes.set(xticks=[], xlabel="too few trials were trained to the end")
    save_figure(figure, path)


def _draw_slices(
    trials: Sequence[Trial], space: Mapping[str, Domain], metric: str, path: Path
) -> None:
    """Draw the value over each setting, one panel each."""
    keys = [key for key in space if any(key in trial.params for trial in trials)] or list(space)[:1]
    rows = max(1, -(-len(keys) // _PANELS_PER_ROW))
    figure = create_figure(4 * _PANELS_PER_ROW, 3 * rows)
    panels = figure.subplots(rows, _PANELS_PER_ROW, squeeze=False).ravel()
    values = [t.value for t in trials if t.state == "complete" and t.value is not None]
    for axes, key in zip(panels, keys, strict=False):
        _draw_slice(axes, trials, key, space[key])
        axes.set(xlabel=key)
        _set_value_limits(axes, values)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    figure.supylabel(_format_metric_name(metric))
    figure.suptitle("Every trial over each setting (grey: ended early)")
    save_figure(figure, path)


def _draw_slice(axes: "Axes", trials: Sequence[Trial], key: str, domain: Domain) -> None:
    """Draw the value over one setting; choices have equally spaced positions."""
    shown = [t for t in trials if key in t.params and t.value is not None]
    names = [] if isinstance(domain, Range) else [_format_value(value) for value in domain]
    for done, colour in ((False, _GREY), (True, INK)):
        points = [
            (names.index(_format_value(t.params[key])) if names else t.params[key], t.value)
            for t in shown
            if (t.state == "complete") == done
        ]
        _scatter_points(axes, points, colour)
    if names:
        axes.set_xticks(range(len(names)), [name[:12] for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif isinstance(domain, Range) and domain.log:
        axes.set_xscale("log")


def _scatter_points(
    axes: "Axes", points: Sequence[tuple[Any, Any]], colour: str, label: str = ""
) -> None:
    """Draw points; without any there is no entry in the legend."""
    if points:
        positions, values = zip(*points, strict=True)
        axes.scatter(positions, values, s=22, color=colour, alpha=0.8, label=label or None)


def _set_value_limits(axes: "Axes", values: Sequence[float]) -> None:
    """Limit the value axis to the range of the complete trials, with a margin."""
    if len(values) < _MIN_COMPLETE_TRIALS:
        return
    low, high = np.quantile(values, [0.0, 1.0])
    room = 0.15 * max(high - low, 1e-9)
    axes.set_ylim(low - room, high + room)


def _format_metric_name(metric: str) -> str:
    """Format the metric as the label of an axis."""
    return "validation loss" if metric == "loss" else f"{metric} on the validation rows"


def _format_value(value: object) -> str:
    """Format the value of a setting; the parts of a list are joined by `+`."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def format_study_page(name: str, trials: Sequence[Trial], *, metric: str, folder: Path) -> str:
    """Format the Markdown page: best trial, states, table of the best trials, plots."""
    best = find_best_trial(trials, metric)
    keys = sorted({key for trial in trials for key in trial.params})
    valued = [trial for trial in trials if trial.value is not None and trial.state == "complete"]
    ordered = sorted(valued, key=lambda trial: compute_cost(trial, metric) or 0.0)[
        :_MAX_LISTED_TRIALS
    ]
    lines = [
        f"# tune {name}: trial {best.number if best else '-'} of {len(trials)}",
        "",
        _format_states(trials),
        "",
        f"| trial | {_format_metric_name(metric)} | epochs | " + " | ".join(keys) + " |",
        "|---:|---:|---:|" + "---|" * len(keys),
    ]
    for trial in ordered:
        values = [_format_value(trial.params.get(key, "")) for key in keys]
        lines.append(
            f"| {trial.number} | {trial.value:.4f} | {len(trial.validation_losses)} | "
            + " | ".join(values)
            + " |"
        )
    lines.append("")
    for picture in PLOT_FILES:
        data = base64.b64encode((folder / picture).read_bytes()).decode()
        lines.append(f"![{picture}](data:image/png;base64,{data})")
    return "\n".join(lines)


def _format_states(trials: Sequence[Trial]) -> str:
    """Format the number of trials in each state."""
    counts = count_states(trials)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) + "."


def count_states(trials: Sequence[Trial]) -> dict[str, int]:
    """Count the trials in each state."""
    found = [trial.state for trial in trials]
    return {state: found.count(state) for state in dict.fromkeys(found)}
