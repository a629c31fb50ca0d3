"""Hold data to a contract's expectations with Great Expectations, in bounded memory.

GX has no engine for Polars or Arrow, so it sees pandas frames: expectations about single values
are counted batch by batch and added up, and those that need a whole column at once (uniqueness,
distribution, row count) get a frame of just the columns that they name.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_contracts.contract import Contract, ContractFileError, Expectation, Severity

PER_VALUE = {
    "expect_column_values_to_not_be_null",
    "expect_column_values_to_be_null",
    "expect_column_values_to_be_in_set",
    "expect_column_values_to_not_be_in_set",
    "expect_column_values_to_be_between",
    "expect_column_value_lengths_to_be_between",
    "expect_column_value_lengths_to_equal",
    "expect_column_values_to_match_regex",
    "expect_column_values_to_not_match_regex",
    "expect_column_pair_values_a_to_be_greater_than_b",
    "expect_column_pair_values_to_be_equal",
}
"""Expectations whose counts over batches add up to the count over all rows."""

PRESENCE = {"expect_column_values_to_not_be_null", "expect_column_values_to_be_null"}

COLUMN_KWARGS = ("column", "column_A", "column_B", "column_list")


class ValidatorBrokenError(RuntimeError):
    """An expectation could not be computed: this says nothing about the data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What came of one promise."""

    rule: str
    column: str
    severity: Severity
    kept: bool
    found: str
    """What was found, in words; with examples where values broke it."""


def check_columns(schema: pl.Schema, contract: Contract) -> list[Finding]:
    """Compare the columns and their types with those of the contract."""
    findings = []
    for name, dtype in contract.columns.items():
        found = str(schema[name]) if name in schema else "missing"
        findings.append(
            Finding(
                rule=f"column of type {dtype}",
                column=name,
                severity="critical",
                kept=found == dtype,
                found=found,
            )
        )
    return findings


def check_values(
    scan: pl.LazyFrame,
    contract: Contract,
    *,
    batches: Callable[[list[str]], Iterator[pl.DataFrame]],
) -> list[Finding]:
    """Check every expectation.

    Args:
        scan: all rows.
        contract: what to check.
        batches: gives all rows of the named columns, in frames that fit in memory.

    Raises:
        ContractFileError: an expectation that GX does not know or whose arguments it refuses.
        ValidatorBrokenError: an expectation could not be computed.
    """
    per_value = [e for e in contract.expectations if e.type in PER_VALUE]
    whole = [e for e in contract.expectations if e.type not in PER_VALUE]
    schema = scan.collect_schema()
    for expectation in contract.expectations:
        refuse_unknown_columns(expectation, schema)
    validate = open_validator()
    tallies = [Tally() for _ in per_value]
    needed = sorted({name for e in per_value for name in columns_of(e)})
    opaque = only_presence(schema, per_value)
    for frame in batches(needed) if per_value else ():
        light = frame.with_columns(presence(name) for name in opaque)
        for tally, result in zip(tallies, validate(light, per_value), strict=True):
            tally.add(result)
    findings = [tally.finding(e) for tally, e in zip(tallies, per_value, strict=True)]
    for expectation in whole:
        frame = whole_frame(scan, expectation).collect(engine="streaming")
        result = validate(frame, [expectation])[0]
        findings.append(whole_finding(expectation, result))
    return findings


def whole_frame(scan: pl.LazyFrame, expectation: Expectation) -> pl.LazyFrame:
    """Give an expectation just what it needs to see at once.

    Its own columns; for the row count a light column; for the table's columns a single row.
    """
    if names := columns_of(expectation):
        return scan.select(names)
    if "row_count" in expectation.type:
        return scan.select(presence(scan.collect_schema().names()[0]))
    return scan.head(1)


def only_presence(schema: pl.Schema, expectations: list[Expectation]) -> list[str]:
    """Name the columns of bytes and lists of which nothing but their presence is asked."""
    others = {
        name
        for expectation in expectations
        if expectation.type not in PRESENCE
        for name in columns_of(expectation)
    }
    asked = {name for expectation in expectations for name in columns_of(expectation)}
    heavy = {name for name in asked if schema[name].is_nested() or schema[name] == pl.Binary}
    return sorted(heavy - others)


def presence(name: str) -> pl.Expr:
    """Stand in for a column: true where it has a value. As pandas objects it would be large."""
    return pl.when(pl.col(name).is_not_null()).then(pl.lit(value=True)).alias(name)


def columns_of(expectation: Expectation) -> list[str]:
    """Name the columns that an expectation is about."""
    names: list[str] = []
    for key in COLUMN_KWARGS:
        value = expectation.kwargs.get(key, [])
        names += value if isinstance(value, list) else [value]
    return names


def refuse_unknown_columns(expectation: Expectation, schema: pl.Schema) -> None:
    """Refuse an expectation about a column that is not there."""
    for name in columns_of(expectation):
        if name not in schema:
            raise ContractFileError(
                f"{expectation.type} is about column '{name}', which the data does not have; "
                "correct the contract, or list the column under `columns`"
            )


@dataclass(slots=True)
class Tally:
    """Running counts of one expectation over batches."""

    rows: int = 0
    missing: int = 0
    unexpected: int = 0
    examples: tuple[str, ...] = ()

    def add(self, result: dict[str, Any]) -> None:
        """Add one batch's counts."""
        self.rows += result.get("element_count", 0)
        self.missing += result.get("missing_count", 0) or 0
        self.unexpected += result.get("unexpected_count", 0)
        fresh = tuple(repr(value)[:60] for value in result.get("partial_unexpected_list", []))
        self.examples = tuple(dict.fromkeys(self.examples + fresh))[:3]

    def finding(self, expectation: Expectation) -> Finding:
        """Judge the sum, with GX's own rule for `mostly`."""
        judged = self.rows - self.missing
        good = (judged - self.unexpected) / judged if judged else 1.0
        found = f"{self.unexpected} of {judged} values break it"
        if self.examples and self.unexpected:
            found += f", such as {', '.join(self.examples)}"
        return Finding(
            rule=expectation.type,
            column=", ".join(columns_of(expectation)),
            severity=expectation.severity,
            kept=good >= float(expectation.kwargs.get("mostly", 1.0)),
            found=found,
        )


def whole_finding(expectation: Expectation, result: dict[str, Any]) -> Finding:
    """Turn GX's own verdict about all rows into a finding."""
    observed = result.get("observed_value", result.get("unexpected_count"))
    return Finding(
        rule=expectation.type,
        column=", ".join(columns_of(expectation)),
        severity=expectation.severity,
        kept=bool(result["success"]),
        found=f"observed {observed}"[:200],
    )


Validate = Callable[[pl.DataFrame, list[Expectation]], list[dict[str, Any]]]


def open_validator() -> Validate:
    """Open GX once; the function that comes back validates one frame after another."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    for noisy in ("great_expectations", "great_expectations.data_context.types.base"):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    definition = asset.add_batch_definition_whole_dataframe("whole")

    def validate(frame: pl.DataFrame, expectations: list[Expectation]) -> list[dict[str, Any]]:
        # GX takes equal expectations for one, so each is asked once.
        asked = {repr((e.type, sorted(e.kwargs.items()))): e for e in expectations}
        suite = build_suite(list(asked.values()))
        batch = definition.get_batch({"dataframe": frame.to_pandas()})
        results = batch.validate(suite, result_format="SUMMARY").results
        by_place = {int(result.expectation_config.meta["place"]): result for result in results}
        answers = {key: by_place[place] for place, key in enumerate(asked)}
        return [
            read_result(answers[repr((e.type, sorted(e.kwargs.items())))]) for e in expectations
        ]

    return validate


def build_suite(expectations: list[Expectation]) -> Any:  # noqa: ANN401 - GX ships no types
    """Build GX's suite; each expectation carries its place, for GX returns them in any order.

    Raises:
        ContractFileError: GX does not know it, or refuses its arguments.
    """
    from great_expectations.core import ExpectationSuite
    from great_expectations.exceptions import GreatExpectationsError

    suite = ExpectationSuite(name="contract")
    for place, expectation in enumerate(expectations):
        configuration = {
            "type": expectation.type,
            "kwargs": dict(expectation.kwargs),
            "meta": {"place": place},
        }
        try:
            built = ExpectationSuite(name="one", expectations=[configuration]).expectations
        except (ValueError, GreatExpectationsError) as error:
            raise ContractFileError(f"{expectation.type}: {error}") from error
        if not built:
            raise ContractFileError(
                f"'{expectation.type}' is not an expectation of Great Expectations"
            )
        suite.add_expectation(built[0])
    return suite


def read_result(result: Any) -> dict[str, Any]:  # noqa: ANN401 - GX ships no types
    """Read GX's result.

    Raises:
        ValidatorBrokenError: GX could not compute it.
    """
    info = result.exception_info or {}
    entries = [info] if "raised_exception" in info else list(info.values())
    for entry in entries:
        if entry.get("raised_exception"):
            kind = result.expectation_config.type
            raise ValidatorBrokenError(
                f"{kind} could not be computed: {entry['exception_message']}"
            )
    return {**result.result, "success": result.success}
