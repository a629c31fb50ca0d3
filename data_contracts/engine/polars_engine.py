"""An execution engine for Great Expectations that runs on a Polars LazyFrame.

GX resolves a suite as a graph of metrics, wave by wave, each metric separately. This engine
receives the whole graph first: every metric with an equivalent in Polars becomes an expression, and
all are computed in one streaming pass, before the waves ask for them. Only metrics that are not
one number a column (distinct values, quantiles, duplicates of a key that is not increasing) and the
examples of broken rows are queries of their own, run on demand.

The expectations, their evaluation and their results are GX's own. A metric without an equivalent
fails with a message that starts with `UNSUPPORTED_PREFIX`, and the caller uses GX's pandas engine.

It subclasses the pandas engine because GX looks metrics up along the class hierarchy: metrics that
are computed from other metrics (proportions), and column names with their pandas types (from an
empty frame), are left to the pandas providers.
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

from data_contracts.engine.aggregates import Aggregation, Query, compile_aggregate
from data_contracts.engine.gx import GxContext, GxExpectation
from data_contracts.engine.row_metrics import compile_row_metric

UNSUPPORTED_PREFIX = "no equivalent in Polars:"

_DERIVED_METRICS = {
    "table.columns",
    "table.column_types",
    "table.column_count",
    "column.unique_proportion",
    "column.non_null_proportion",
    "column_values.nonnull.count",
}
"""Metrics that the pandas providers compute from other metrics, or from an empty frame."""

_EXTREMES = ("expect_column_min_to_be_between", "expect_column_max_to_be_between")

_COMPUTATION_ERRORS = (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError)
"""Raised by arguments that do not fit the data; they must not fail other expectations."""

_MetricId = tuple[str, str, str]

_MetricValues = dict[_MetricId, Any]


class _PolarsExecutionEngine(PandasExecutionEngine):  # type: ignore[misc] # GX ships no types
    """Computes GX's metrics from a LazyFrame."""

    def __init__(self, scan: pl.LazyFrame) -> None:
        super().__init__()
        self.scan = scan
        self.schema = scan.collect_schema()
        self.compiled: dict[_MetricId, Aggregation | Query] = {}
        self.metric_values: _MetricValues = {}
        self.expression_values: dict[str, Any] = {}

    def prepare_graphs(self, graphs: Iterable[Any]) -> list[str | None]:
        """Compile the metrics of all expectations, and compute the expressions in one pass.

        Args:
            graphs: the graph of metrics of each expectation.

        Returns:
            For each expectation why it has no equivalent in Polars, or None if it has one.
        """
        wanted: dict[str, pl.Expr] = {}
        reasons: list[str | None] = []
        for graph in graphs:
            try:
                plans = [self.compile_metric(edge.left) for edge in graph.edges]
            except _COMPUTATION_ERRORS as error:
                reasons.append(str(error))
                continue
            reasons.append(None)
            for plan in plans:
                wanted |= plan.expressions if isinstance(plan, Aggregation) else {}
        self.expression_values = _compute_expressions(self.scan, wanted)
        return reasons

    def compile_metric(self, metric: MetricConfiguration) -> Aggregation | Query | None:
        """Compile a metric; None if the pandas provider computes it.

        Raises:
            UnsupportedError: the metric has no equivalent in Polars.
        """
        name, domain = metric.metric_name, metric.metric_domain_kwargs
        if name in _DERIVED_METRICS:
            return None
        kwargs = metric.metric_value_kwargs
        plan = compile_aggregate(name, domain, kwargs, self.schema)
        if plan is None:
            plan = compile_row_metric(name, domain, kwargs, self.schema)
        self.compiled[metric.id] = plan
        return plan

    def resolve_metrics(
        self,
        metrics_to_resolve: Iterable[MetricConfiguration],
        metrics: _MetricValues | None = None,
        runtime_configuration: dict[str, Any] | None = None,
    ) -> _MetricValues:
        """Compute one wave of the graph.

        Raises:
            MetricResolutionError: a metric could not be computed.
        """
        wave = list(metrics_to_resolve)
        others = [metric for metric in wave if metric.metric_name in _DERIVED_METRICS]
        values: _MetricValues = dict(
            super().resolve_metrics(others, metrics, runtime_configuration)
        )
        for metric in wave:
            if metric.metric_name not in _DERIVED_METRICS:
                values[metric.id] = self.compute_metric(metric)
        return values

    def compute_metric(self, metric: MetricConfiguration) -> Any:  # noqa: ANN401 - as the metric has it
        """Compute one metric; cached, because GX repeats a whole wave if one metric of it fails.

        Raises:
            MetricResolutionError: Polars could not compute it.
        """
        if metric.id in self.metric_values:
            return self.metric_values[metric.id]
        try:
            found = self.run_plan(self.compiled[metric.id])
        except _COMPUTATION_ERRORS as error:
            raise MetricResolutionError(message=str(error), failed_metrics=[metric]) from error
        self.metric_values[metric.id] = found
        return found

    def run_plan(self, plan: Aggregation | Query) -> Any:  # noqa: ANN401 - as the metric has it
        """Run a query, or finish a metric from the expressions of the common pass."""
        if isinstance(plan, Query):
            if plan.key in self.expression_values:
                return self.expression_values[plan.key]
            none = plan.count is not None and not self.run_plan(plan.count)
            found = [] if none else plan.run(self.scan)
            self.expression_values |= {plan.key: found} if plan.key else {}
            return found
        for name in plan.expressions:
            if isinstance(self.expression_values[name], pl.exceptions.PolarsError):
                raise self.expression_values[name]
        return plan.finish(self.expression_values)


class PolarsValidator(Validator):  # type: ignore[misc] # GX ships no types
    """GX's validator, which passes the whole graph to its engine before resolving it."""

    def __init__(self, scan: pl.LazyFrame, context: GxContext) -> None:
        empty = Batch(data=scan.head(0).collect().to_pandas())
        engine = _PolarsExecutionEngine(scan)
        super().__init__(execution_engine=engine, batches=[empty], data_context=context)

    def _resolve_suite_level_graph_and_process_metric_evaluation_errors(
        self,
        *,
        expectation_validation_graphs: list[Any],
        evrs: list[Any],
        processed_configurations: list[Any],
        **rest: Any,  # noqa: ANN401 - GX ships no types
    ) -> Any:  # noqa: ANN401 - GX ships no types
        graphs = expectation_validation_graphs
        engine = self.execution_engine
        reasons = [
            _find_incomparable_bound(each.configuration, engine.schema) or reason
            for each, reason in zip(
                graphs, engine.prepare_graphs(each.graph for each in graphs), strict=True
            )
        ]
        for each, reason in zip(graphs, reasons, strict=True):
            if reason is not None:
                evrs.append(_build_unsupported_result(each.configuration, reason))
                processed_configurations.remove(each.configuration)
        supported = [each for each, reason in zip(graphs, reasons, strict=True) if reason is None]
        rest["graph"] = self._generate_suite_level_graph_from_expectation_level_sub_graphs(
            supported
        )
        parent: Any = super()
        return parent._resolve_suite_level_graph_and_process_metric_evaluation_errors(  # noqa: SLF001 - its only hook
            expectation_validation_graphs=supported,
            evrs=evrs,
            processed_configurations=processed_configurations,
            **rest,
        )


def _compute_expressions(scan: pl.LazyFrame, facts: dict[str, pl.Expr]) -> dict[str, Any]:
    """Compute all expressions in one streaming pass; if it fails, each alone, to isolate errors."""
    names = list(facts)
    try:
        columns = [facts[name].alias(str(index)) for index, name in enumerate(names)]
        row = scan.select(columns).collect(engine="streaming").row(0) if columns else ()
    except pl.exceptions.PolarsError as error:
        if len(names) == 1:
            return {names[0]: error}
        return {name: _compute_expressions(scan, {name: facts[name]})[name] for name in names}
    return dict(zip(names, row, strict=True))


def _find_incomparable_bound(configuration: GxExpectation, schema: pl.Schema) -> str | None:
    """Find a datetime as bound of a date's minimum or maximum: they do not compare in Python."""
    kwargs = configuration.kwargs
    bounds = [kwargs.get("min_value"), kwargs.get("max_value")]
    if schema.get(str(kwargs.get("column"))) == pl.Date and configuration.type in _EXTREMES:
        return next((f"the bound {b} for Date" for b in bounds if isinstance(b, datetime)), None)
    return None


def _build_unsupported_result(
    configuration: GxExpectation, reason: str
) -> ExpectationValidationResult:
    """Build the failed result of an expectation that has no equivalent in Polars."""
    exception_info = {
        "raised_exception": True,
        "exception_message": f"{UNSUPPORTED_PREFIX} {reason}",
        "exception_traceback": None,
    }
    return ExpectationValidationResult(
        success=False, exception_info=exception_info, expectation_config=configuration
    )
