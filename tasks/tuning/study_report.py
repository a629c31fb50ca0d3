"""What a search found, to look at: pictures, and a page with the best trials."""

import base64
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.reporting.plots import ACCENT, INK, blank, write
from tasks.tuning.search_space import Domain, Range
from tasks.tuning.trials import Trial, best_of, cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from optuna import Study

PICTURES = ("history.png", "importance.png", "slices.png")

BESIDE = 3
"""Panels of the slices beside each other."""

LISTED = 10
"""Trials on the page."""

ENOUGH = 4
"""Complete trials from which on it can be said what matters."""

GREY = "#9aa5b1"


def draw_study(
    folder: Path,
    trials: Sequence[Trial],
    study: "Study",
    *,
    space: Mapping[str, Domain],
    metric: str,
) -> dict[str, float]:
    """Draw the three pictures into the folder; return how much each setting matters."""
    shares = importance(study)
    draw_history(trials, metric, folder / PICTURES[0])
    draw_importance(shares, metric, folder / PICTURES[1])
    draw_slices(trials, space, metric, folder / PICTURES[2])
    return shares


def importance(study: "Study") -> dict[str, float]:
    """Tell which share of what makes trials good is each setting's (PED-ANOVA, Watanabe 2023).

    Settings that only some cells have are weighed too. Nothing is told from few trials.
    """
    from optuna.importance import get_param_importances
    from optuna.trial import TrialState

    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < ENOUGH:
        return {}
    with warnings.catch_warnings():
        # Optuna warns where trials are so few, or so alike, that all settings come out equal.
        warnings.simplefilter("ignore")
        return get_param_importances(study)


def draw_history(trials: Sequence[Trial], metric: str, path: Path) -> None:
    """Draw the value of every trial in its order, and the best so far."""
    figure = blank(7, 4)
    axes = figure.subplots()
    ended = [trial for trial in trials if trial.state == "complete"]
    cut = [trial for trial in trials if trial.state != "complete" and trial.value is not None]
    scatter(axes, [(t.number, t.value) for t in cut], GREY, "ended early")
    scatter(axes, [(t.number, t.value) for t in ended], INK, "trained to the end")
    bests = [best_of(ended[: place + 1], metric) for place in range(len(ended))]
    steps = [best.value for best in bests if best and best.value is not None]
    axes.step([t.number for t in ended], steps, where="post", color=ACCENT, label="best so far")
    axes.set(xlabel="trial", ylabel=said(metric), title="Trials in their order")
    zoom(axes, [trial.value for trial in ended if trial.value is not None])
    axes.legend(frameon=False)
    write(figure, path)


def draw_importance(shares: Mapping[str, float], metric: str, path: Path) -> None:
    """Draw a bar for each setting, the one that matters most first."""
    ordered = sorted(shares.items(), key=lambda entry: entry[1], reverse=True)
    figure = blank(7, 1.8 + 0.3 * max(1, len(ordered)))
    axes = figure.subplots()
    axes.barh(range(len(ordered)), [share for _, share in ordered], color=INK)
    axes.set_yticks(range(len(ordered)), [key for key, _ in ordered])
    axes.invert_yaxis()
    axes.set(xlabel=f"share of what moves the {said(metric)}", title="Which settings matter")
    if not ordered:
        axes.set(xticks=[], xlabel="too few trials were trained to the end")
    write(figure, path)


def draw_slices(
    trials: Sequence[Trial], space: Mapping[str, Domain], metric: str, path: Path
) -> None:
    """Draw the value over each setting, one panel each."""
    keys = [key for key in space if any(key in trial.chosen for trial in trials)] or list(space)[:1]
    rows = max(1, -(-len(keys) // BESIDE))
    figure = blank(4 * BESIDE, 3 * rows)
    panels = figure.subplots(rows, BESIDE, squeeze=False).ravel()
    values = [t.value for t in trials if t.state == "complete" and t.value is not None]
    for axes, key in zip(panels, keys, strict=False):
        draw_slice(axes, trials, key, space[key])
        axes.set(xlabel=key)
        zoom(axes, values)
    for axes in panels[len(keys) :]:
        axes.set_visible(False)
    figure.supylabel(said(metric))
    figure.suptitle("Every trial over each setting (grey: ended early)")
    write(figure, path)


def draw_slice(axes: "Axes", trials: Sequence[Trial], key: str, domain: Domain) -> None:
    """Draw one setting: where it is a choice, each value has its own place."""
    shown = [t for t in trials if key in t.chosen and t.value is not None]
    names = [] if isinstance(domain, Range) else [text_of(value) for value in domain]
    for done, colour in ((False, GREY), (True, INK)):
        points = [
            (names.index(text_of(t.chosen[key])) if names else t.chosen[key], t.value)
            for t in shown
            if (t.state == "complete") == done
        ]
        scatter(axes, points, colour)
    if names:
        axes.set_xticks(range(len(names)), [name[:12] for name in names])
        axes.set_xlim(-0.5, len(names) - 0.5)
    elif isinstance(domain, Range) and domain.log:
        axes.set_xscale("log")


def scatter(axes: "Axes", points: Sequence[tuple[Any, Any]], colour: str, label: str = "") -> None:
    """Draw points; none at all need no entry in the legend."""
    if points:
        places, values = zip(*points, strict=True)
        axes.scatter(places, values, s=22, color=colour, alpha=0.8, label=label or None)


def zoom(axes: "Axes", values: Sequence[float]) -> None:
    """Show the range of the better trials; a few that failed would flatten all others."""
    if len(values) < ENOUGH:
        return
    low, high = np.quantile(values, [0.0, 1.0])
    room = 0.15 * max(high - low, 1e-9)
    axes.set_ylim(low - room, high + room)


def said(metric: str) -> str:
    """Name the metric for a reader."""
    return "validation loss" if metric == "loss" else f"{metric} on the validation rows"


def text_of(value: object) -> str:
    """Write a setting's value; a list's parts side by side."""
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def page_of(name: str, trials: Sequence[Trial], *, metric: str, folder: Path) -> str:
    """Write the page: what was found, the best trials, the pictures."""
    best = best_of(trials, metric)
    keys = sorted({key for trial in trials for key in trial.chosen})
    valued = [trial for trial in trials if trial.value is not None and trial.state == "complete"]
    ordered = sorted(valued, key=lambda trial: cost(trial, metric) or 0.0)[:LISTED]
    lines = [
        f"# tune {name}: trial {best.number if best else '-'} of {len(trials)}",
        "",
        states_in_words(trials),
        "",
        f"| trial | {said(metric)} | epochs | " + " | ".join(keys) + " |",
        "|---:|---:|---:|" + "---|" * len(keys),
    ]
    for trial in ordered:
        told = [text_of(trial.chosen.get(key, "")) for key in keys]
        lines.append(
            f"| {trial.number} | {trial.value:.4f} | {len(trial.validation_losses)} | "
            + " | ".join(told)
            + " |"
        )
    lines.append("")
    for picture in PICTURES:
        data = base64.b64encode((folder / picture).read_bytes()).decode()
        lines.append(f"![{picture}](data:image/png;base64,{data})")
    return "\n".join(lines)


def states_in_words(trials: Sequence[Trial]) -> str:
    """Say how many trials ended in which way."""
    counts = states(trials)
    return ", ".join(f"{count} {state}" for state, count in counts.items()) + "."


def states(trials: Sequence[Trial]) -> dict[str, int]:
    """Count the trials by how they ended."""
    found = [trial.state for trial in trials]
    return {state: found.count(state) for state in dict.fromkeys(found)}
