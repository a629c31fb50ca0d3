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
    quarantine_max: float = 0.01
    """Largest share of rows, from 0 to 1, that may break it and be set aside; more stop the run."""


KEYS = {"name", "columns", "expectations", "quarantine_max"}


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
    if unknown := raw.keys() - KEYS:
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
        quarantine_max=read_share(raw.get("quarantine_max", "1%"), where=f"{path}: quarantine_max"),
    )


def read_share(value: object, *, where: str) -> float:
    """Read a share such as 1% or 0.01."""
    text = str(value).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError as error:
        raise ContractFileError(f"{where}: '{value}' is no share; write 1% or 0.01") from error
    if not 0 <= share <= 1:
        raise ContractFileError(f"{where}: '{value}' is not between 0% and 100%")
    return share


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


def compare_contracts(before: Contract, after: Contract) -> list[str]:
    """Tell how one contract differs from another, a line each; empty when they are equal."""
    lines = [f"+ column {n}: {t}" for n, t in after.columns.items() if n not in before.columns]
    lines += [f"- column {n}: {t}" for n, t in before.columns.items() if n not in after.columns]
    lines += [
        f"~ column {name}: {dtype} -> {after.columns[name]}"
        for name, dtype in before.columns.items()
        if after.columns.get(name, dtype) != dtype
    ]
    old, new = by_place(before), by_place(after)
    lines += [f"+ {told(new[key])}" for key in new if key not in old]
    lines += [f"- {told(old[key])}" for key in old if key not in new]
    lines += [
        f"~ {told(old[key])} -> {told(new[key])}"
        for key in old
        if key in new and old[key] != new[key]
    ]
    if before.quarantine_max != after.quarantine_max:
        lines.append(f"~ quarantine_max: {before.quarantine_max:g} -> {after.quarantine_max:g}")
    return lines


def by_place(contract: Contract) -> dict[tuple[str, ...], Expectation]:
    """Tell expectations apart by type, column, and how many of that kind come before."""
    found: dict[tuple[str, ...], Expectation] = {}
    for expectation in contract.expectations:
        kind = (expectation.type, *about(expectation))
        number = sum(key[:-1] == kind for key in found)
        found[*kind, str(number)] = expectation
    return found


def about(expectation: Expectation) -> tuple[str, ...]:
    """Name the columns that tell two expectations of one type apart."""
    return tuple(f"{k}={v}" for k, v in sorted(expectation.kwargs.items()) if "column" in k)


def told(expectation: Expectation) -> str:
    """Write an expectation on one line."""
    kwargs = ", ".join(f"{name}={value!r}" for name, value in expectation.kwargs.items())
    return f"{expectation.type}({kwargs}) [{expectation.severity}]"[:300]


class ContractDumper(yaml.SafeDumper):
    """Writes texts so that they come back as they were."""


def write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote a text that holds line ends other than a line feed: YAML would read them as one."""
    odd = any(mark in text for mark in ("\x85", "\u2028", "\u2029", "\r"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)


ContractDumper.add_representer(str, write_text)


def to_yaml(contract: Contract) -> str:
    """Write a contract as a person would."""
    return yaml.dump(
        {
            "name": contract.name,
            "quarantine_max": f"{100 * contract.quarantine_max:g}%",
            "columns": dict(contract.columns),
            "expectations": [
                {"type": e.type, "severity": e.severity, "kwargs": dict(e.kwargs)}
                for e in contract.expectations
            ],
        },
        Dumper=ContractDumper,
        sort_keys=False,
        allow_unicode=True,
    )
