"""Formatting of numbers, units and names for people."""

import math
from collections.abc import Mapping
from typing import Any

Content = Mapping[str, object]
"""The variables of a template."""

_METRIC_NAMES = {
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
    "mse": "mean squared error",
    "r2": "R squared",
    "bleu": "BLEU",
    "smape": "sMAPE",
    "mase": "MASE",
    "ece": "calibration error",
}

_KILO = 1024


def format_number(value: Any, digits: int = 4) -> str:  # noqa: ANN401 - whatever JSON holds
    """Format a number with `digits` significant digits; text as it is, a dash for None and NaN."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return _format_digits(value, digits)


def _format_digits(value: float, digits: int) -> str:
    """Format a finite number with `digits` significant digits."""
    if value == int(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:.{digits}g}" if abs(value) < 10**digits - 1 else f"{value:,.0f}"
    return f"{value:.{digits - 1}g}"


def format_signed(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    """Format a gain with its sign."""
    text = format_number(value)
    return f"+{text}" if isinstance(value, (int, float)) and value > 0 else text


def format_share(value: Any, digits: int = 1) -> str:  # noqa: ANN401 - whatever JSON holds
    """Format a share, 0 to 1, in percent."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return "-"
    return f"{100 * value:.{digits}f} %"


def format_metric_name(name: str) -> str:
    """Format the name of a metric."""
    return _METRIC_NAMES.get(name, str(name).replace("_", " "))


def format_with_unit(value: Any, metric: str, units: Mapping[str, str] | None) -> str:  # noqa: ANN401
    """Format a score with its unit, if it has one."""
    unit = (units or {}).get(metric) or ""
    return f"{format_number(value)} {unit}".rstrip()


def format_bytes(count: float | None) -> str:
    """Format a number of bytes, in bytes to GiB."""
    if count is None:
        return "-"
    value = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < _KILO or unit == "GiB":
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= _KILO
    raise AssertionError(value)


def format_seconds(count: float | None) -> str:
    """Format a time in seconds, in ms to hours."""
    if count is None:
        return "-"
    if count < 1:
        return f"{count * 1000:.0f} ms"
    if count < 100:
        return f"{count:.1f} s"
    if count < 2 * 3600:
        return f"{count / 60:.0f} min"
    return f"{count / 3600:.1f} h"


def format_energy(count: float | None) -> str:
    """Format an energy in joules, in J or kWh."""
    if count is None:
        return "not measured on this machine"
    return f"{count:.0f} J" if count < 36_000 else f"{count / 3.6e6:.3f} kWh"


def shorten(value: Any, max_length: int = 60) -> str:  # noqa: ANN401 - whatever JSON holds
    """Format any value in at most `max_length` characters."""
    if isinstance(value, float):
        return format_number(value)
    if isinstance(value, (list, tuple)):
        return shorten(
            ", ".join(shorten(part, max_length) for part in value[:max_length]) or "none",
            max_length,
        )
    text = "-" if value is None else str(value)
    return text if len(text) <= max_length else f"{text[: max_length - 3]}..."


FILTERS = {
    "number": format_number,
    "signed": format_signed,
    "share": format_share,
    "metric_name": format_metric_name,
    "size": format_bytes,
    "seconds": format_seconds,
    "energy": format_energy,
    "shorten": shorten,
}
"""What the templates write values with, by the name of the filter."""
