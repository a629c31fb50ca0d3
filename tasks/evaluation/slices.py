"""Details of a report besides the scores of all rows: slices, and reasons for doubt."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import polars as pl

from models.calibration import Calibration
from models.evaluation.leakage_checks import LeakageCheck
from models.evaluation.metrics.by_kind import METRICS
from models.evaluation.predictions import ForecastPredictions, Predictions
from models.evaluation.slices import (
    Slice,
    find_worst_slice,
    reindex_slices,
    score_slices,
    slice_by_class,
    slice_by_column,
    slice_by_range,
)
from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import TestRows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.calibration import measure_calibration, measure_conformal
from tasks.gate.comparison import Comparison, GateConfig, choose_metric
from tasks.report_record import CalibrationRecord, ConformalRecord, SliceScore, WorstSlice

_MIN_SAMPLES = 2
"""Resamples where no interval is needed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationConfig:
    """What the report measures besides the scores of all test rows."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    slices: tuple[str, ...] = ()
    """Columns whose values are slices that are scored separately, such as a region or a kind of
    customer; slices by class, entity, length and time are always scored."""
    leakage_checks: Literal["warn", "block"] = "warn"
    """What follows when a leakage check fails: a warning, or no version is promoted until a person
    has approved it (`block`)."""

    def __post_init__(self) -> None:
        """Refuse a column that is listed twice."""
        if len(set(self.slices)) < len(self.slices):
            raise ValueError(f"slices: {list(self.slices)} names a column twice; remove one")


class EvaluationData(NamedTuple):
    """The test rows and the candidate's predictions of them."""

    rows: RowSet
    features_dir: Path
    featurizer: Featurizer
    test: TestRows
    predictions: pl.DataFrame
    """The candidate's, one row for each test row."""
    calibration: Calibration | None

    @property
    def by_time(self) -> bool:
        """Whether neighbouring rows are correlated."""
        return bool(self.featurizer.split.by == "time")


class EvaluationDetails(NamedTuple):
    """What is measured besides the scores of all rows."""

    calibration: CalibrationRecord | None
    conformal: ConformalRecord | None
    slices: list[SliceScore]
    worst_slice: WorstSlice | None


def measure_details(
    data: EvaluationData,
    challenger: Predictions,
    comparison: Comparison | None,
    *,
    gate: GateConfig,
    evaluation: EvaluationConfig,
) -> EvaluationDetails:
    """Measure calibration, coverage, and the score of each slice of the rows.

    With a champion that can be compared, slices are of the rows that neither was trained on.
    """
    about = (data.predictions, data.test, data.featurizer, data.calibration)
    columns = challenger.steps.columns if isinstance(challenger, ForecastPredictions) else None
    slices, measured = _build_slices(data, challenger, evaluation.slices), challenger
    if comparison is not None and comparison.rows_F is not None:
        slices = reindex_slices(slices, comparison.rows_F, len(challenger))
        measured = comparison.challenger
    scores = _score_slices(measured, slices, comparison, gate=gate, by_time=data.by_time)
    return EvaluationDetails(
        measure_calibration(*about),
        measure_conformal(*about, confidence=gate.confidence, columns=columns),
        scores,
        _find_worst(scores, measured, gate),
    )


def find_block_reason(checks: Sequence[LeakageCheck], evaluation: EvaluationConfig) -> str | None:
    """Return why nothing may be promoted; None where no check fails, or the job only warns."""
    failed = [each for each in checks if each.status == "failed"]
    if evaluation.leakage_checks != "block" or not failed:
        return None
    messages = "; ".join(f"{each.name}: {each.message}" for each in failed)
    return f"a leakage check fails: {messages}"


def list_warnings(checks: Sequence[LeakageCheck]) -> list[str]:
    """List the reasons to doubt the scores."""
    return [f"{each.name}: {each.message}" for each in checks if each.status != "passed"]


def _build_slices(
    data: EvaluationData, predictions: Predictions, columns: Sequence[str]
) -> list[Slice]:
    """Divide the test rows by class, entity, length and time, and by the columns of the job."""
    featurizer, test = data.featurizer, data.test
    layout, slices = featurizer.layout, slice_by_class(predictions, featurizer.target.classes)
    names = {"entity": layout.entity} if layout.entity else {}
    names |= {name: name for name in columns if name != layout.entity}
    if names:
        read = list(dict.fromkeys(names.values()))
        frame = data.rows.scan().select(read).collect(engine="streaming")[test.target_rows_R]
        for by, name in names.items():
            slices += slice_by_column(by, frame[name])
    table = read_sequences(data.features_dir, TEST)
    lengths = (table["stop"] - table["start"]).rename("steps")
    if layout.window is None and lengths.n_unique() > 1:
        slices += slice_by_range("length", lengths)
    if test.times is not None and test.times.n_unique() > 1:
        slices += slice_by_range("time", test.times)
    return slices


def _score_slices(
    measured: Predictions,
    slices: Sequence[Slice],
    comparison: Comparison | None,
    *,
    gate: GateConfig,
    by_time: bool,
) -> list[SliceScore]:
    """Score each slice with its interval, and the champion on it where it can be compared."""
    metric = choose_metric(gate, measured.kind)

    def score(predictions: Predictions, count: int) -> list[SliceScore]:
        entries = score_slices(
            predictions,
            slices,
            metric=metric,
            confidence=gate.confidence,
            count=count,
            by_time=by_time,
        )
        return [SliceScore(**entry, champion=None) for entry in entries]

    scores = score(measured, gate.bootstrap_samples)
    if comparison is None or comparison.rows_F is None:
        return scores
    champion = score(comparison.reference, _MIN_SAMPLES)
    pairs = zip(scores, champion, strict=True)
    return [replace(own, champion=other.score) for own, other in pairs]


def _find_worst(
    scores: Sequence[SliceScore], measured: Predictions, gate: GateConfig
) -> WorstSlice | None:
    """Find the worst slice; None where fewer than two have enough rows."""
    metric = choose_metric(gate, measured.kind)
    overall = METRICS[measured.kind][metric](measured)
    entries = [asdict(each) for each in scores]
    worst = find_worst_slice(entries, metric=metric, overall=overall)
    return None if worst is None else WorstSlice(**worst)
