"""The report of a search: plots, and a page with the best trials."""

import base64
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markupsafe import Markup

from tasks.escaping import escape_markdown
from tasks.reporting.charts.axes import Axis
from tasks.reporting.charts.plots import Curve, Plot, Points, draw_panels, draw_plot
from tasks.reporting.charts.rows import draw_bars
from tasks.reporting.charts.svg import draw_message, write_svg
from tasks.tuning.search_space import Domain, Range
from tasks.tuning.trials import Trial, compute_cost, find_best_trial

if TYPE_CHECKING:
    from optuna import Study

PLOT_FILES = ("history.svg", "importance.svg", "slices.svg")

_MAX_LISTED_TRIALS = 10
"""Trials on the page."""

_MIN_COMPLETE_TRIALS = 4
"""Complete trials from which on importance is computed, and axes are limited."""


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
    charts = (
        _draw_history(trials, metric),
        _draw_importance(shares, metric),
        _draw_slices(trials, space, metric),
    )
    for name, chart in zip(PLOT_FILES, charts, strict=True):
        write_svg(chart, folder / name)
    return shares


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
        f"| trial | {_format_metric_name(metric)} | epochs | "
        + " | ".join(map(escape_markdown, keys))
        + " |",
        "|---:|---:|---:|" + "---|" * len(keys),
    ]
    for trial in ordered:
        values = [escape_markdown(_format_value(trial.params.get(key, ""))) for key in keys]
        lines.append(
            f"| {trial.number} | {trial.value:.4f} | {len(trial.validation_losses)} | "
            + " | ".join(values)
            + " |"
        )
    lines.append("")
    for picture in PLOT_FILES:
        data = base64.b64encode((folder / picture).read_bytes()).decode()
        lines.append(f"![{picture}](data:image/svg+xml;base64,{data})")
    return "\n".join(lines)


def count_states(trials: Sequence[Trial]) -> dict[str, int]:
    """Count the trials in each state."""
    states = [trial.state for trial in trials]
    return {state: states.count(state) for state in dict.fromkeys(states)}


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


def _draw_history(trials: Sequence[Trial], metric: str) -> Markup:
    """Draw the value of each trial in their order, and the best so far."""
    complete = [trial for trial in trials if trial.state == "complete"]
    bests = [find_best_trial(complete[: count + 1], metric) for count in range(len(complete))]
    best_values = [best.value if best else None for best in bests]
    numbers = [trial.number for trial in complete]
    y_axis = Axis(_format_metric_name(metric), limits=_choose_limits(trials))
    plot = Plot(
        layers=[
            *_build_points([(trial, trial.number) for trial in trials]),
            Curve("best so far", numbers, best_values, "b", is_step=True),
        ],
        x_axis=Axis("trial", is_whole=True),
        y_axis=y_axis,
        title="Trials in their order",
        note=_format_hidden(trials, y_axis.limits),
    )
    return draw_plot(plot) or draw_message(plot.title, "No trial has a value.")


def _draw_importance(shares: Mapping[str, float], metric: str) -> Markup:
    """Draw the importance of each setting as a bar, the highest first."""
    title = "Which settings matter"
    x_name = f"share of what moves the {_format_metric_name(metric)}"
    chart = draw_bars(shares, title=title, x_name=x_name)
    return chart or draw_message(title, "Too few trials were trained to the end.")


def _draw_slices(trials: Sequence[Trial], space: Mapping[str, Domain], metric: str) -> Markup:
    """Draw the value over each setting, one panel each."""
    limits = _choose_limits(trials)
    plots = [
        _build_slice(trials, key, domain, limits)
        for key, domain in space.items()
        if any(key in trial.params for trial in trials)
    ]
    title = f"The {_format_metric_name(metric)} of every trial over each setting"
    chart = draw_panels(plots, title=title, note=_format_hidden(trials, limits))
    return chart or draw_message(title, "No trial has a value.")


def _build_slice(
    trials: Sequence[Trial], key: str, domain: Domain, limits: tuple[float, float] | None
) -> Plot:
    """Build the panel of one setting; choices have equally spaced positions."""
    with_key = [trial for trial in trials if key in trial.params]
    if isinstance(domain, Range):
        x_axis = Axis(key, is_log=domain.log)
        positions = [(trial, float(trial.params[key])) for trial in with_key]
    else:
        names = [_format_value(value) for value in domain]
        x_axis = Axis(key, names=names)
        positions = [
            (trial, float(names.index(_format_value(trial.params[key])))) for trial in with_key
        ]
    return Plot(layers=_build_points(positions), x_axis=x_axis, y_axis=Axis(limits=limits))


def _build_points(positions: Sequence[tuple[Trial, float]]) -> list[Points]:
    """Build points at the trials' values, apart for those that ended early."""
    layers = []
    for name, style, is_complete in (
        ("ended early", "faint", False),
        ("trained to the end", "a", True),
    ):
        known = [
            (x, trial.value)
            for trial, x in positions
            if trial.value is not None and (trial.state == "complete") == is_complete
        ]
        if known:
            layers.append(Points(name, [x for x, _ in known], [y for _, y in known], style))
    return layers


def _choose_limits(trials: Sequence[Trial]) -> tuple[float, float] | None:
    """Limit the value axis to the range of the complete trials, with a margin; None if few are."""
    values = [t.value for t in trials if t.state == "complete" and t.value is not None]
    if len(values) < _MIN_COMPLETE_TRIALS:
        return None
    low, high = min(values), max(values)
    room = 0.15 * max(high - low, 1e-9)
    return low - room, high + room


def _format_hidden(trials: Sequence[Trial], limits: tuple[float, float] | None) -> str:
    """Format how many trials lie outside the limits; empty for none."""
    values = [trial.value for trial in trials if trial.value is not None]
    hidden = sum(not limits[0] <= value <= limits[1] for value in values) if limits else 0
    if not hidden:
        return ""
    return f"{hidden} trial{'s' if hidden > 1 else ''} that ended early not shown: beyond the axis."


def _format_metric_name(metric: str) -> str:
    """Format the metric as the label of an axis."""
    return "validation loss" if metric == "loss" else f"{metric} on the validation rows"


def _format_value(value: object) -> str:
    """Format the value of a setting; the parts of a list are joined by `+`."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _format_states(trials: Sequence[Trial]) -> str:
    """Format the number of trials in each state."""
    counts = count_states(trials)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) + "."
