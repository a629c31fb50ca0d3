"""Adapter to Great Expectations (GX): build expectations, run a validator, read its results."""

import logging
from collections.abc import Sequence
from typing import Any

from data_contracts.contract import ContractFileError, Expectation

_COLUMN_KWARGS = ("column", "column_A", "column_B", "column_list")

GxExpectation = Any
"""An expectation built by GX, which ships no types."""

GxResult = Any
"""GX's result of one expectation."""

GxContext = Any
"""GX's data context."""

_GxValidator = Any

_NOISY_LOGGERS = ("great_expectations", "great_expectations.data_context.types.base")


class ValidatorBrokenError(RuntimeError):
    """An expectation could not be computed, which says nothing about the data."""


def open_context() -> GxContext:
    """Silence GX's logs and progress bars, and return the context that its validators need."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def build_expectation(expectation: Expectation, *, index: int) -> GxExpectation:
    """Build GX's expectation, with its index as metadata, because GX returns results in any order.

    Raises:
        ContractFileError: GX does not know the expectation, or refuses its arguments.
    """
    from great_expectations.core import ExpectationSuite
    from great_expectations.exceptions import GreatExpectationsError

    configuration = {
        "type": expectation.type,
        "kwargs": dict(expectation.kwargs),
        "severity": expectation.severity,
        "meta": {"index": index},
    }
    try:
        built = ExpectationSuite(name="one", expectations=[configuration]).expectations
    except (ValueError, GreatExpectationsError) as error:
        raise ContractFileError(f"{expectation.type}: {error}") from error
    if not built:
        raise ContractFileError(f"'{expectation.type}' is not an expectation of Great Expectations")
    return built[0]


def list_columns(expectation: Expectation) -> list[str]:
    """List the columns that an expectation is about."""
    names: list[str] = []
    for key in _COLUMN_KWARGS:
        value = expectation.kwargs.get(key, [])
        names += value if isinstance(value, list) else [value]
    return names


def run_validation(
    validator: _GxValidator, expectations: Sequence[GxExpectation], *, detail: str = "SUMMARY"
) -> list[GxResult]:
    """Run the expectations, and return GX's results in the same order.

    Args:
        validator: of the data.
        expectations: as built by `build_expectation`.
        detail: GX's result format; COMPLETE lists the numbers of unexpected rows.
    """
    # GX returns one result for equal expectations, so each distinct one is run once.
    keys = [repr(each.configuration.to_json_dict() | {"meta": None}) for each in expectations]
    distinct = dict(zip(keys, expectations, strict=True))
    results = validator.graph_validate(
        configurations=[each.configuration for each in distinct.values()],
        runtime_configuration={"result_format": {"result_format": detail}},
    )
    by_index = {result.expectation_config.meta["index"]: result for result in results}
    results_by_key = {key: by_index[each.meta["index"]] for key, each in distinct.items()}
    return [results_by_key[key] for key in keys]


def find_exception_message(result: GxResult) -> str | None:
    """Return why an expectation could not be computed, or None if it could.

    GX reports this as a failed expectation, with the exceptions nested by metric.
    """
    info = result.exception_info or {}
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry["exception_message"])
    return None
