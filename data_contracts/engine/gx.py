"""The way to Great Expectations: build expectations, ask a validator, read its answers."""

import logging
from collections.abc import Sequence
from typing import Any

from data_contracts.contract import ContractFileError, Expectation

COLUMN_KWARGS = ("column", "column_A", "column_B", "column_list")

GxExpectation = Any
"""GX ships no types: an expectation that it built."""

GxResult = Any
"""What GX made of one expectation."""

GxContext = Any
"""GX's data context."""

GxValidator = Any

NOISY = ("great_expectations", "great_expectations.data_context.types.base")


class ValidatorBrokenError(RuntimeError):
    """An expectation could not be computed: this says nothing about the data."""


def open_gx() -> GxContext:
    """Make GX quiet, and give the context that its validators want."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for name in NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return context


def build(expectation: Expectation, *, place: int) -> GxExpectation:
    """Build GX's expectation; it carries its place, for GX answers in any order.

    Raises:
        ContractFileError: GX does not know it, or refuses its arguments.
    """
    from great_expectations.core import ExpectationSuite
    from great_expectations.exceptions import GreatExpectationsError

    configuration = {
        "type": expectation.type,
        "kwargs": dict(expectation.kwargs),
        "severity": expectation.severity,
        "meta": {"place": place},
    }
    try:
        built = ExpectationSuite(name="one", expectations=[configuration]).expectations
    except (ValueError, GreatExpectationsError) as error:
        raise ContractFileError(f"{expectation.type}: {error}") from error
    if not built:
        raise ContractFileError(f"'{expectation.type}' is not an expectation of Great Expectations")
    return built[0]


def columns_of(expectation: Expectation) -> list[str]:
    """Name the columns that an expectation is about."""
    names: list[str] = []
    for key in COLUMN_KWARGS:
        value = expectation.kwargs.get(key, [])
        names += value if isinstance(value, list) else [value]
    return names


def ask(
    validator: GxValidator, built: Sequence[GxExpectation], *, detail: str = "SUMMARY"
) -> list[GxResult]:
    """Validate, and give GX's results in the order of the expectations."""
    # GX takes equal expectations for one, so each is asked once.
    keys = [repr(each.configuration.to_json_dict() | {"meta": None}) for each in built]
    distinct = dict(zip(keys, built, strict=True))
    results = validator.graph_validate(
        configurations=[each.configuration for each in distinct.values()],
        runtime_configuration={"result_format": {"result_format": detail}},
    )
    by_place = {result.expectation_config.meta["place"]: result for result in results}
    answers = {key: by_place[each.meta["place"]] for key, each in distinct.items()}
    return [answers[key] for key in keys]


def failure_of(result: GxResult) -> str | None:
    """Tell why a result could not be computed, or None when it could.

    GX nests what went wrong by metric, and calls it a failed expectation.
    """
    info = result.exception_info or {}
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            return str(entry["exception_message"])
    return None
