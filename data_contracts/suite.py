"""Check data against a contract with Great Expectations, in bounded memory.

The engine is `polars_engine`: one streaming pass for the whole suite. An expectation without an
equivalent in Polars is checked by GX's pandas engine, and its finding names that engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from data_contracts.contract import Contract, ContractFileError, Expectation, Severity
from data_contracts.engine.gx import (
    GxExpectation,
    GxResult,
    ValidatorBrokenError,
    build_expectation,
    find_exception_message,
    list_columns,
    open_context,
    run_validation,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The result of one expectation, or of one column's type."""

    rule: str
    column: str
    severity: Severity
    passed: bool
    observed: str
    """Text for people: what was observed, with examples of unexpected values."""
    row_level: bool = False
    """Whether it is about single rows, so that those that break it can be quarantined."""
    engine: str = "polars"
    """What computed it: polars, or pandas where Polars has no equivalent."""


@dataclass(frozen=True, slots=True)
class BrokenExpectation:
    """A row-level expectation that some rows break."""

    finding: Finding
    gx_expectation: GxExpectation
    count: int
    """How many rows break it."""
    row_numbers: tuple[int, ...] = ()
    """Numbers of those rows if pandas checked it; for Polars they are found by its row rule."""


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """The result of a contract's suite."""

    findings: tuple[Finding, ...]
    gx_results: tuple[GxResult, ...] = ()
    """GX's own results, for its Data Docs."""
    broken: tuple[BrokenExpectation, ...] = ()
    """The critical row-level expectations that rows break."""

    @property
    def table_failures(self) -> list[Finding]:
        """List the critical failures that quarantining rows cannot fix."""
        return [
            f
            for f in self.findings
            if f.severity == "critical" and not f.passed and not f.row_level
        ]


def check_columns(schema: pl.Schema, contract: Contract) -> list[Finding]:
    """Compare the columns and their types with those of the contract, one finding a column."""
    findings = []
    for name, dtype in contract.columns.items():
        found = str(schema[name]) if name in schema else "missing"
        findings.append(
            Finding(
                rule=f"column of type {dtype}",
                column=name,
                severity="critical",
                passed=found == dtype,
                observed=found,
            )
        )
    return findings


def check_contract(scan: pl.LazyFrame, contract: Contract) -> SuiteResult:
    """Check the columns and, if these are as required, every expectation.

    Raises:
        ContractFileError: an expectation that GX does not know, or whose arguments it rejects.
        ValidatorBrokenError: an expectation could not be computed.
    """
    schema = scan.collect_schema()
    columns = check_columns(schema, contract)
    if not all(finding.passed for finding in columns):
        return SuiteResult(tuple(columns))
    for expectation in contract.expectations:
        _require_columns(expectation, schema)
    if not contract.expectations:
        return SuiteResult(tuple(columns))
    built = [build_expectation(e, index=index) for index, e in enumerate(contract.expectations)]
    return check_expectations(scan, contract.expectations, built, columns)


def check_expectations(
    scan: pl.LazyFrame,
    expectations: Sequence[Expectation],
    built: Sequence[GxExpectation],
    columns: Sequence[Finding],
) -> SuiteResult:
    """Check all expectations with the Polars engine, and those that it lacks with pandas."""
    from data_contracts.engine.pandas_fallback import EngineResult, check_with_pandas
    from data_contracts.engine.polars_engine import UNSUPPORTED_PREFIX, PolarsValidator

    findings, results, broken = list(columns), [], []
    context = open_context()
    polars_results = run_validation(PolarsValidator(scan, context), built)
    for expectation, gx_expectation, result in zip(
        expectations, built, polars_results, strict=True
    ):
        engine, found = "polars", EngineResult(result)
        if why := find_exception_message(result):
            if not why.startswith(UNSUPPORTED_PREFIX):
                raise ValidatorBrokenError(f"{expectation.type} could not be computed: {why}")
            engine = "pandas"
            found = check_with_pandas(scan, expectation, gx_expectation, context=context)
        finding = _build_finding(expectation, found.result, engine=engine)
        findings.append(finding)
        results.append(found.result)
        if finding.row_level and not finding.passed and finding.severity == "critical":
            count = int(found.result.result["unexpected_count"])
            broken.append(
                BrokenExpectation(finding, gx_expectation, count, tuple(found.row_numbers))
            )
    return SuiteResult(tuple(findings), tuple(results), tuple(broken))


def _require_columns(expectation: Expectation, schema: pl.Schema) -> None:
    """Check that the data has the columns of an expectation.

    Raises:
        ContractFileError: a column is missing; the message names the expectation and the column.
    """
    if expectation.type == "expect_column_to_exist":
        return
    for name in list_columns(expectation) if "table" not in expectation.type else []:
        if name not in schema:
            raise ContractFileError(
                f"{expectation.type} is about column '{name}', which the data does not have; "
                "correct the contract, or list the column under `columns`"
            )


def _build_finding(expectation: Expectation, result: GxResult, *, engine: str) -> Finding:
    """Convert GX's result into a finding."""
    counts = result.result
    by_rows = "element_count" in counts
    return Finding(
        rule=expectation.type,
        column=", ".join(list_columns(expectation)),
        severity=expectation.severity,
        passed=bool(result.success),
        observed=_format_unexpected(counts) if by_rows else _format_observed(counts),
        row_level=by_rows,
        engine=engine,
    )


def _format_unexpected(counts: dict[str, Any]) -> str:
    """Format how many values are unexpected, with up to three examples."""
    evaluated = counts["element_count"] - (counts.get("missing_count") or 0)
    broken = counts.get("unexpected_count") or 0
    listed = (repr(value)[:60] for value in counts.get("partial_unexpected_list") or [])
    examples = list(dict.fromkeys(listed))[:3]
    found = f"{broken} of {evaluated} values break it"
    return found + (f", such as {', '.join(examples)}" if broken and examples else "")


def _format_observed(counts: dict[str, Any]) -> str:
    """Format the observed value of a column or table."""
    observed = counts.get("observed_value")
    if observed is None:
        parts = {
            key: counts[key] for key in ("unexpected_count", "missing_count") if counts.get(key)
        }
        listed = counts.get("partial_unexpected_list")
        observed = f"{parts or 'nothing'}" + (f", such as {listed[:3]}" if listed else "")
    return f"observed {observed}"[:200]
