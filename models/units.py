"""Numbers with units, as a person writes them in a job file: `20%`, `10m`."""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_share(value: object) -> object:
    """Read `"20%"` as 0.2; leave any other value to the validation of the field.

    Raises:
        ValueError: a text that is no percentage.
    """
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*%\s*", value):
        return float(match[1]) / 100
    raise ValueError(f"{value!r} is not a share; write a percentage such as '20%' or a number")


def parse_duration(value: object) -> object:
    """Read `"10m"` as 600 seconds; leave any other value to the validation of the field.

    Raises:
        ValueError: a text that is no duration.
    """
    if not isinstance(value, str):
        return value
    if match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value):
        return float(match[1]) * SECONDS[match[2]]
    raise ValueError(f"{value!r} is not a duration; write it with its unit, such as '30s' or '10m'")


Share = Annotated[
    float,
    BeforeValidator(parse_share),
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
