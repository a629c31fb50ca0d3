"""A contract: the columns that the data must have, and a Great Expectations suite about them.

In YAML, so that a person reviews it: `columns` names each column's type (as Polars writes it), and
`expectations` is a suite as GX stores it: `type`, `kwargs`, `severity` (critical stops the run,
warning is told).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

Severity = Literal["critical", "warning"]


class ContractFileError(ValueError):
    """A contract file cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One promise about the data."""

    type: str
    """GX's name, such as expect_column_values_to_not_be_null."""
    kwargs: Mapping[str, Any]
    severity: Severity = "critical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """What the data promises."""

    name: str
    columns: Mapping[str, str]
    """Type of each column that must be there; others may be there too."""
    expectations: tuple[Expectation, ...] = ()


def read_contract(path: Path) -> Contract:
    """Read a contract from its file.

    Raises:
        ContractFileError: what is wrong with it, and where.
    """
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ContractFileError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContractFileError(f"{path} is not YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ContractFileError(f"{path}: expected the keys name, columns and expectations")
    if unknown := raw.keys() - {"name", "columns", "expectations"}:
        raise ContractFileError(f"{path}: unknown keys: {', '.join(sorted(map(str, unknown)))}")
    columns = raw.get("columns") or {}
    if not isinstance(columns, dict):
        raise ContractFileError(f"{path}: columns: expected a name and a type each")
    listed = raw.get("expectations") or []
    if not isinstance(listed, list):
        raise ContractFileError(f"{path}: expectations: expected a list")
    expectations = [
        read_expectation(entry, where=f"{path}: expectations[{index}]")
        for index, entry in enumerate(listed)
    ]
    return Contract(
        name=str(raw.get("name", path.stem)),
        columns={str(name): str(dtype) for name, dtype in columns.items()},
        expectations=tuple(expectations),
    )


def read_expectation(entry: object, *, where: str) -> Expectation:
    """Read one expectation of the list."""
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise ContractFileError(f"{where}: expected type, kwargs and severity")
    if unknown := entry.keys() - {"type", "kwargs", "severity"}:
        raise ContractFileError(f"{where}: unknown keys: {', '.join(sorted(map(str, unknown)))}")
    severity, kwargs = entry.get("severity", "critical"), entry.get("kwargs") or {}
    if not isinstance(kwargs, dict):
        raise ContractFileError(f"{where}.kwargs: expected names and values")
    if severity not in ("critical", "warning"):
        raise ContractFileError(f"{where}.severity: '{severity}' is neither critical nor warning")
    return Expectation(
        type=entry["type"],
        kwargs=kwargs,
        severity=cast("Severity", severity),
    )


def to_yaml(contract: Contract) -> str:
    """Write a contract as a person would."""
    return yaml.safe_dump(
        {
            "name": contract.name,
            "columns": dict(contract.columns),
            "expectations": [
                {"type": e.type, "severity": e.severity, "kwargs": dict(e.kwargs)}
                for e in contract.expectations
            ],
        },
        sort_keys=False,
        allow_unicode=True,
    )
