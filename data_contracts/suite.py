"""Hold data to a contract: every expectation judged by Great Expectations, in bounded memory.

The engine is `polars_engine`: one streaming pass for the whole suite. An expectation that has no
equal in Polars is asked of GX's pandas engine, and its finding says so.
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
    ask,
    build,
    columns_of,
    failure_of,
    open_gx,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What came of one promise."""

    rule: str
    column: str
    severity: Severity
    kept: bool
    found: str
    """What was found, in words; with examples where values broke it."""
    by_rows: bool = False
    """Whether single rows keep or break it, so that those that break it can be set aside."""
    engine: str = "polars"
    """Who computed it: polars, or pandas where Polars has no equal."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A row-level promise that single rows break."""

    finding: Finding
    built: GxExpectation
    count: int
    """How many rows break it."""
    rows: tuple[int, ...] = ()
    """The numbers of those rows, where pandas told them; Polars finds them by the rule."""


@dataclass(frozen=True, slots=True)
class Checked:
    """All that came of a suite."""

    findings: tuple[Finding, ...]
    results: tuple[GxResult, ...] = ()
    """GX's own results, for its pages."""
    broken: tuple[Broken, ...] = ()
    """The critical promises that rows break."""

    @property
    def stops(self) -> list[Finding]:
        """The critical promises that no setting aside of rows can mend."""
        return [
            f for f in self.findings if f.severity == "critical" and not f.kept and not f.by_rows
        ]


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


def check(scan: pl.LazyFrame, contract: Contract) -> Checked:
    """Check the columns and, if they are right, every expectation.

    Raises:
        ContractFileError: an expectation that GX does not know or whose arguments it refuses.
        ValidatorBrokenError: an expectation could not be computed.
    """
    schema = scan.collect_schema()
    columns = check_columns(schema, contract)
    if not all(finding.kept for finding in columns):
        return Checked(tuple(columns))
    for expectation in contract.expectations:
        refuse_unknown_columns(expectation, schema)
    if not contract.expectations:
        return Checked(tuple(columns))
    built = [build(e, place=place) for place, e in enumerate(contract.expectations)]
    return check_values(scan, contract.expectations, built, columns)


def check_values(
    scan: pl.LazyFrame,
    expectations: Sequence[Expectation],
    built: Sequence[GxExpectation],
    columns: Sequence[Finding],
) -> Checked:
    """Ask the Polars engine about everything, and pandas about what is left."""
    from data_contracts.engine.pandas_fallback import Fallback, check_by_pandas
    from data_contracts.engine.polars_engine import UNSUPPORTED, PolarsValidator

    findings, results, broken = list(columns), [], []
    context = open_gx()
    answers = ask(PolarsValidator(scan, context), built)
    for expectation, asked, result in zip(expectations, built, answers, strict=True):
        engine, answer = "polars", Fallback(result)
        if why := failure_of(result):
            if not why.startswith(UNSUPPORTED):
                raise ValidatorBrokenError(f"{expectation.type} could not be computed: {why}")
            engine, answer = "pandas", check_by_pandas(scan, expectation, asked, context=context)
        finding = finding_of(expectation, answer.result, engine=engine)
        findings.append(finding)
        results.append(answer.result)
        if finding.by_rows and not finding.kept and finding.severity == "critical":
            count = int(answer.result.result["unexpected_count"])
            broken.append(Broken(finding, asked, count, tuple(answer.rows)))
    return Checked(tuple(findings), tuple(results), tuple(broken))


def refuse_unknown_columns(expectation: Expectation, schema: pl.Schema) -> None:
    """Refuse an expectation about a column that is not there.

    Raises:
        ContractFileError: names the expectation and the column.
    """
    if expectation.type == "expect_column_to_exist":
        return
    for name in columns_of(expectation) if "table" not in expectation.type else []:
        if name not in schema:
            raise ContractFileError(
                f"{expectation.type} is about column '{name}', which the data does not have; "
                "correct the contract, or list the column under `columns`"
            )


def finding_of(expectation: Expectation, result: GxResult, *, engine: str) -> Finding:
    """Put GX's verdict into words."""
    counts = result.result
    by_rows = "element_count" in counts
    return Finding(
        rule=expectation.type,
        column=", ".join(columns_of(expectation)),
        severity=expectation.severity,
        kept=bool(result.success),
        found=broken_words(counts) if by_rows else observed_words(counts),
        by_rows=by_rows,
        engine=engine,
    )


def broken_words(counts: dict[str, Any]) -> str:
    """Tell how many values break a rule, with examples."""
    judged = counts["element_count"] - (counts.get("missing_count") or 0)
    broken = counts.get("unexpected_count") or 0
    listed = (repr(value)[:60] for value in counts.get("partial_unexpected_list") or [])
    examples = list(dict.fromkeys(listed))[:3]
    found = f"{broken} of {judged} values break it"
    return found + (f", such as {', '.join(examples)}" if broken and examples else "")


def observed_words(counts: dict[str, Any]) -> str:
    """Tell what was observed of a whole column or table."""
    observed = counts.get("observed_value")
    if observed is None:
        parts = {
            key: counts[key] for key in ("unexpected_count", "missing_count") if counts.get(key)
        }
        listed = counts.get("partial_unexpected_list")
        observed = f"{parts or 'nothing'}" + (f", such as {listed[:3]}" if listed else "")
    return f"observed {observed}"[:200]
