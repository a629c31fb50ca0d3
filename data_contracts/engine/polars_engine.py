"""An execution engine for Great Expectations that runs on a Polars LazyFrame.

GX resolves a suite as a graph of metrics, wave by wave, each metric by itself. This engine is shown
the whole graph first: every metric that has an equal in Polars becomes an expression, and all of
them are computed by one streaming pass. The waves then find their answers ready. Only what cannot
be one number a column (distinct values, ranks, duplicates of a key that does not just grow) and
the examples of what is broken are queries of their own, made when they are asked for.

The expectations, their judgement and their results are GX's own. A metric without an equal is told
as such (`UNSUPPORTED` opens its message), and the caller asks GX's pandas engine.

It subclasses the pandas engine because GX looks a metric up along the engine's ancestry: what needs
no data but other metrics (proportions, column names and their pandas types, read from an empty
frame) is left to the pandas providers.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import polars as pl
from great_expectations.core import ExpectationValidationResult
from great_expectations.core.batch import Batch
from great_expectations.exceptions import MetricResolutionError
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.validator.metric_configuration import MetricConfiguration
from great_expectations.validator.validator import Validator

from data_contracts.engine.aggregates import Plan, Query, aggregate_of
from data_contracts.engine.gx import GxContext, GxExpectation
from data_contracts.engine.row_metrics import row_metric_of

UNSUPPORTED = "no equal in Polars:"

OF_OTHERS = {
    "table.columns",
    "table.column_types",
    "table.column_count",
    "column.unique_proportion",
    "column.non_null_proportion",
    "column_values.nonnull.count",
}
"""Metrics that pandas' providers compute from other metrics, or from a frame without rows."""

EXTREMES = ("expect_column_min_to_be_between", "expect_column_max_to_be_between")

UNANSWERABLE = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)
"""What arguments that do not fit the data raise; no expectation may fail for those of another."""

MetricId = tuple[str, str, str]

Metrics = dict[MetricId, Any]


class PolarsExecutionEngine(PandasExecutionEngine):  # type: ignore[misc] # GX ships no types
    """Answers GX's metrics from a LazyFrame."""

    def __init__(self, scan: pl.LazyFrame) -> None:
        super().__init__()
        self.scan = scan
        self.schema = scan.collect_schema()
        self.compiled: dict[MetricId, Plan | Query] = {}
        self.answers: Metrics = {}
        self.facts: dict[str, Any] = {}

    def prepare(self, graphs: Iterable[Any]) -> list[str | None]:
        """Compile the metrics of all expectations, and compute in one pass what can be.

        Args:
            graphs: of the metrics of each expectation.

        Returns:
            For each expectation why it has no equal in Polars, or None when it has.
        """
        wanted: dict[str, pl.Expr] = {}
        refused: list[str | None] = []
        for graph in graphs:
            try:
                plans = [self.compile(edge.left) for edge in graph.edges]
            except UNANSWERABLE as error:
                refused.append(str(error))
                continue
            refused.append(None)
            for plan in plans:
                wanted |= plan.facts if isinstance(plan, Plan) else {}
        self.facts = compute(self.scan, wanted)
        return refused

    def compile(self, metric: MetricConfiguration) -> Plan | Query | None:
        """Find what a metric asks of the data; None where pandas' provider answers it.

        Raises:
            UnsupportedError: it has no equal in Polars.
        """
        name, domain = metric.metric_name, metric.metric_domain_kwargs
        if name in OF_OTHERS:
            return None
        kwargs = metric.metric_value_kwargs
        plan = aggregate_of(name, domain, kwargs, self.schema)
        if plan is None:
            plan = row_metric_of(name, domain, kwargs, self.schema)
        self.compiled[metric.id] = plan
        return plan

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[MetricConfiguration],
        metrics: Metrics | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> Metrics:
        """Answer one wave of the graph.

        Raises:
            MetricResolutionError: a metric could not be computed.
        """
        wave = list(metrics_to_resolve)
        others = [metric for metric in wave if metric.metric_name in OF_OTHERS]
        answers: Metrics = dict(super().resolve_metrics(others, metrics, runtime_configuration))
        for metric in wave:
            if metric.metric_name not in OF_OTHERS:
                answers[metric.id] = self.answer(metric)
        return answers

    def answer(self, metric: MetricConfiguration) -> Any:  # noqa: ANN401 - as the metric has it
        """Give one metric's value; GX asks again for a whole wave when one of it failed.

        Raises:
            MetricResolutionError: Polars could not compute it.
        """
        if metric.id in self.answers:
            return self.answers[metric.id]
        try:
            found = self.value(self.compiled[metric.id])
        except UNANSWERABLE as error:
            raise MetricResolutionError(message=str(error), failed_metrics=[metric]) from error
        self.answers[metric.id] = found
        return found

    def value(self, plan: Plan | Query) -> Any:  # noqa: ANN401 - as the metric has it
        """Ask the data, or make a metric of the facts of the one pass."""
        if isinstance(plan, Query):
            if plan.name in self.facts:
                return self.facts[plan.name]
            none = plan.count is not None and not self.value(plan.count)
            found = [] if none else plan.ask(self.scan)
            self.facts |= {plan.name: found} if plan.name else {}
            return found
        for name in plan.facts:
            if isinstance(self.facts[name], pl.exceptions.PolarsError):
                raise self.facts[name]
        return plan.finish(self.facts)


def compute(scan: pl.LazyFrame, facts: dict[str, pl.Expr]) -> dict[str, Any]:
    """Compute all facts in one streaming pass; where it fails, each alone, to find the culprit."""
    names = list(facts)
    try:
        columns = [facts[name].alias(str(place)) for place, name in enumerate(names)]
        row = scan.select(columns).collect(engine="streaming").row(0) if columns else ()
    except pl.exceptions.PolarsError as error:
        if len(names) == 1:
            return {names[0]: error}
        return {name: compute(scan, {name: facts[name]})[name] for name in names}
    return dict(zip(names, row, strict=True))


class PolarsValidator(Validator):  # type: ignore[misc] # GX ships no types
    """GX's validator, which shows its engine the whole graph before it resolves it."""

    def __init__(self, scan: pl.LazyFrame, context: GxContext) -> None:
        empty = Batch(data=scan.head(0).collect().to_pandas())
        engine = PolarsExecutionEngine(scan)
        super().__init__(execution_engine=engine, batches=[empty], data_context=context)

    def _resolve_suite_level_graph_and_process_metric_evaluation_errors(
        self,
        *,
        expectation_validation_graphs: list[Any],
        evrs: list[Any],
        processed_configurations: list[Any],
        **rest: Any,  # noqa: ANN401 - GX ships no types
    ) -> Any:  # noqa: ANN401 - GX ships no types
        asked = expectation_validation_graphs
        engine = self.execution_engine
        refused = [
            unlike_bound(each.configuration, engine.schema) or reason
            for each, reason in zip(
                asked, engine.prepare(each.graph for each in asked), strict=True
            )
        ]
        for each, reason in zip(asked, refused, strict=True):
            if reason is not None:
                evrs.append(without_equal(each.configuration, reason))
                processed_configurations.remove(each.configuration)
        kept = [each for each, reason in zip(asked, refused, strict=True) if reason is None]
        rest["graph"] = self._generate_suite_level_graph_from_expectation_level_sub_graphs(kept)
        parent: Any = super()
        return parent._resolve_suite_level_graph_and_process_metric_evaluation_errors(  # noqa: SLF001 - its only hook
            expectation_validation_graphs=kept,
            evrs=evrs,
            processed_configurations=processed_configurations,
            **rest,
        )


def unlike_bound(configuration: GxExpectation, schema: pl.Schema) -> str | None:
    """Tell a time as the bound of the first or the last date: the two do not compare in Python."""
    kwargs = configuration.kwargs
    bounds = [kwargs.get("min_value"), kwargs.get("max_value")]
    if schema.get(str(kwargs.get("column"))) == pl.Date and configuration.type in EXTREMES:
        return next((f"the bound {b} for Date" for b in bounds if isinstance(b, datetime)), None)
    return None


def without_equal(configuration: GxExpectation, reason: str) -> ExpectationValidationResult:
    """Answer an expectation that this engine leaves to GX's own."""
    told = {
        "raised_exception": True,
        "exception_message": f"{UNSUPPORTED} {reason}",
        "exception_traceback": None,
    }
    return ExpectationValidationResult(
        success=False, exception_info=told, expectation_config=configuration
    )
