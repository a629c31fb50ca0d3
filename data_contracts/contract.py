"""A data contract: required columns with their types, and a Great Expectations suite.

It is a YAML file that a person reviews: `columns` maps each column to its type (as Polars writes
it), `expectations` is a suite as GX stores it: `type`, `kwargs` and `severity`. A row that breaks
a critical expectation is quarantined, a table-level one stops the run; a warning is only logged.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import yaml

from data_contracts.yaml_file import YamlFileError, read_yaml

Severity = Literal["critical", "warning"]


class ContractFileError(ValueError):
    """A contract file cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """One expectation of Great Expectations about the data."""

    type: str
    """GX's name, such as expect_column_values_to_not_be_null."""
    kwargs: Mapping[str, Any]
    severity: Severity = "critical"


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """Columns and expectations that the data of a job has to meet."""

    name: str
    columns: Mapping[str, str]
    """Type of each required column, as Polars writes it; further columns are allowed."""
    expectations: tuple[Expectation, ...] = ()
    max_quarantined: float = 0.01
    """Largest share of rows, from 0 to 1, that may be quarantined; more stop the run."""


_KEYS = {"name", "columns", "expectations", "max_quarantined"}


def read_contract(path: Path) -> Contract:
    """Read a contract from its file.

    Raises:
        ContractFileError: the file cannot be read or is invalid; the message gives the place.
    """
    try:
        raw = read_yaml(path)
    except OSError as error:
        raise ContractFileError(f"{path}: {error.strerror}") from error
    except YamlFileError as error:
        raise ContractFileError(str(error)) from error
    if not isinstance(raw, dict):
        raise ContractFileError(f"{path}: expected the keys name, columns and expectations")
    if unknown := raw.keys() - _KEYS:
        raise ContractFileError(f"{path}: unknown keys: {', '.join(sorted(map(str, unknown)))}")
    columns = raw.get("columns") or {}
    if not isinstance(columns, dict):
        raise ContractFileError(f"{path}: columns: expected a name and a type each")
    listed = raw.get("expectations") or []
    if not isinstance(listed, list):
        raise ContractFileError(f"{path}: expectations: expected a list")
    expectations = [
        _read_expectation(entry, where=f"{path}: expectations[{index}]")
        for index, entry in enumerate(listed)
    ]
    return Contract(
        name=str(raw.get("name", path.stem)),
        columns={str(name): str(dtype) for name, dtype in columns.items()},
        expectations=tuple(expectations),
        max_quarantined=_parse_share(
            raw.get("max_quarantined", "1%"), where=f"{path}: max_quarantined"
        ),
    )


def compare_contracts(before: Contract, after: Contract) -> list[str]:
    """List the differences between two contracts, one line each; empty when they are equal."""
    lines = [f"+ column {n}: {t}" for n, t in after.columns.items() if n not in before.columns]
    lines += [f"- column {n}: {t}" for n, t in before.columns.items() if n not in after.columns]
    lines += [
        f"~ column {name}: {dtype} -> {after.columns[name]}"
        for name, dtype in before.columns.items()
        if after.columns.get(name, dtype) != dtype
    ]
    old, new = _key_expectations(before), _key_expectations(after)
    lines += [f"+ {_format_expectation(new[key])}" for key in new if key not in old]
    lines += [f"- {_format_expectation(old[key])}" for key in old if key not in new]
    lines += [
        f"~ {_format_expectation(old[key])} -> {_format_expectation(new[key])}"
        for key in old
        if key in new and old[key] != new[key]
    ]
    if before.max_quarantined != after.max_quarantined:
        lines.append(f"~ max_quarantined: {before.max_quarantined:g} -> {after.max_quarantined:g}")
    return lines


def format_contract(contract: Contract) -> str:
    """Format a contract as YAML, in the order in which a person reads it."""
    return yaml.dump(
        {
            "name": contract.name,
            "max_quarantined": f"{100 * contract.max_quarantined:g}%",
            "columns": dict(contract.columns),
            "expectations": [
                {"type": e.type, "severity": e.severity, "kwargs": dict(e.kwargs)}
                for e in contract.expectations
            ],
        },
        Dumper=_ContractDumper,
        sort_keys=False,
        allow_unicode=True,
    )


class _ContractDumper(yaml.SafeDumper):
    """A YAML dumper whose strings are read back unchanged."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote a string with line ends other than a line feed, which YAML would read as one."""
    odd = any(mark in text for mark in ("\x85", "\u2028", "\u2029", "\r"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


_ContractDumper.add_representer(str, _represent_text)


def _parse_share(value: object, *, where: str) -> float:
    """Parse a share such as `1%` or `0.01` into a number from 0 to 1."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise ContractFileError(f"{where}: '{value}' is not a share; write 1% or 0.01") from error
    if not 0 <= share <= 1:
        raise ContractFileError(f"{where}: '{value}' is not between 0% and 100%")
    return share


def _read_expectation(entry: object, *, where: str) -> Expectation:
    """Validate one entry of the list `expectations`."""
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


def _key_expectations(contract: Contract) -> dict[tuple[str, ...], Expectation]:
    """Key each expectation by type, columns and its number among those of the same kind."""
    found: dict[tuple[str, ...], Expectation] = {}
    for expectation in contract.expectations:
        kind = (expectation.type, *_list_column_arguments(expectation))
        number = sum(key[:-1] == kind for key in found)
        found[*kind, str(number)] = expectation
    return found


def _list_column_arguments(expectation: Expectation) -> tuple[str, ...]:
    """List the arguments that name columns, as `name=value`."""
    return tuple(f"{k}={v}" for k, v in sorted(expectation.kwargs.items()) if "column" in k)


def _format_expectation(expectation: Expectation) -> str:
    """Format an expectation on one line of at most 300 characters."""
    kwargs = ", ".join(f"{name}={value!r}" for name, value in expectation.kwargs.items())
    return f"{expectation.type}({kwargs}) [{expectation.severity}]"[:300]
