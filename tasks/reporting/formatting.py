"""Numbers and names as people read them."""

import math
from collections.abc import Mapping
from typing import Any

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "weighted_f1": "weighted F1",
    "mcc": "Matthews correlation",
    "auroc": "AUROC",
    "average_precision": "average precision",
    "log_loss": "log loss",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R squared",
    "bleu": "BLEU",
    "smape": "sMAPE",
    "mase": "MASE",
    "ece": "calibration error",
}

KILO = 1024


def figure(value: Any, digits: int = 4) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a number with the digits that count, a word as it is; a dash for none."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return number(value, digits)


def number(value: float, digits: int) -> str:
    """Write a number with the digits that count."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{digits}g}" if abs(value) < 10**digits - 1 else f"{value:,.0f}"
    return f"{value:.{digits - 1}g}"


def signed(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a gain with its sign."""
    text = figure(value)
    return f"+{text}" if isinstance(value, (int, float)) and value > 0 else text


def share(value: Any, digits: int = 1) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a share of one in percent."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return f"{100 * value:.{digits}f} %"


def named(name: str) -> str:
    """Give a metric's name in words."""
    return NAMES.get(name, str(name).replace("_", " "))


def with_unit(value: Any, metric: str, units: Mapping[str, str] | None) -> str:  # noqa: ANN401
    """Write a score with its unit, where one is known."""
    unit = (units or {}).get(metric) or ""
    return f"{figure(value)} {unit}".rstrip()


def size(count: float | None) -> str:
    """Write bytes in a unit that fits."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < KILO or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= KILO
    raise AssertionError(value)


def seconds(count: float | None) -> str:
    """Write a time in a unit that fits."""
    if count is None:
        return "-"
    if count < 1:
        return f"{count * 1000:.0f} ms"
    if count < 100:
        return f"{count:.1f} s"
    if count < 2 * 3600:
        return f"{count / 60:.0f} min"
    return f"{count / 3600:.1f} h"


def joules(count: float | None) -> str:
    """Write an energy in a unit that fits."""
    if count is None:
        return "not told by this machine"
    return f"{count:.0f} J" if count < 36_000 else f"{count / 3.6e6:.3f} kWh"


def brief(value: Any, most: int = 60) -> str:  # noqa: ANN401 - whatever JSON holds
    """Write a value in a few characters."""
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, list):
        return brief(", ".join(brief(part, most) for part in value[:most]) or "none", most)
    text = "-" if value is None else str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
