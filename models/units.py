"""Numbers with units in a job file, such as `20%` and `10m`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(value: object) -> object:
    """Return `"10m"` as 600 seconds, and any value that is not a text unchanged.

    Raises:
        ValueError: the text is no duration.
    """
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value):
        return float(match[1]) * _UNIT_SECONDS[match[2]]
    raise ValueError(f"{value!r} is not a duration; write it with its unit, such as '30s' or '10m'")


def _parse_share(value: object) -> object:
    """Return `"20%"` as 0.2, and any value that is not a text unchanged.

    Raises:
        ValueError: the text is no percentage.
    """
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value):
        return float(match[1]) / 100
    raise ValueError(f"{value!r} is not a share; write a percentage such as '20%' or a number")


Share = Annotated[
    float,
    BeforeValidator(_parse_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 1},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%\s*$"},
            ]
        }
    ),
]
"""A part of a whole, from 0 to 1; in a job file also `"20%"`."""

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(ms|s|m|h|d)\s*$"},
            ]
        }
    ),
]
"""A span of time in seconds; in a job file also `"10m"`, with ms, s, m, h or d."""
