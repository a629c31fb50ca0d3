"""Compare the champion's performance on rows newer than its training with its reference score.

The reference is the score of its test rows, with its interval, in the report that it was registered
with. The current score is that of rows which were not there at its training and whose target is
known. The two sets of rows are disjoint, so the interval of the drop follows from the two intervals
by MOVER (Newcombe 1998; Zou and Donner 2008): lower = drop - sqrt((b - b_low)^2 + (w_high - w)^2),
upper = drop + sqrt((b_high - b)^2 + (w - w_low)^2), with b and w the better and the worse side.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import task

from models.evaluation.metrics.by_kind import get_metric_sign
from models.features.featurizer import Featurizer
from models.features.series import is_resampled
from models.features.splitting.duplicates import mark_known
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.training_rows import list_key_columns
from tasks.dataset.rowset import RowSet, open_rows
from tasks.errors import MissingArtifactError
from tasks.evaluation.observed_quality import MAX_ROWS, score_predictions
from tasks.facts import AcceptedFacts, ScoreInterval
from tasks.gate.comparison import GateConfig, choose_metric
from tasks.prediction.predict import (
    IN_TRAINING,
    OK,
    TARGET,
    LazyPredictions,
    PredictionRequest,
    RowFilter,
    open_scorer,
    predict_rows,
)
from tasks.prediction.predict_windows import predict_windows
from tasks.records import Accepted, Champion
from tasks.registry import versions
from tasks.report_record import read_report
from tasks.storage.artifacts import find_artifact_dir, find_by_key
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import STAGE, logger


class PerformanceDrop(NamedTuple):
    """Drop of a score, with its interval; below 0 if the score has improved."""

    drop: float
    low: float
    high: float


class ModelQuality(NamedTuple):
    """Scores of the champion, at its registration and now."""

    champion: str | None
    metric: str = ""
    rows: int = 0
    """Rows newer than the champion's training whose target is known."""
    reference: ScoreInterval | None = None
    current: ScoreInterval | None = None
    drop: PerformanceDrop | None = None
    unknown_reason: str | None = None
    """Why the drop cannot be computed."""


def compute_drop(reference: ScoreInterval, current: ScoreInterval, metric: str) -> PerformanceDrop:
    """Compute the drop of a metric between two disjoint sets of rows, with its interval."""
    sign = get_metric_sign(metric)
    (better, worse) = (reference, current) if sign > 0 else (current, reference)
    drop = better.value - worse.value
    below = math.hypot(better.value - better.low, worse.high - worse.value)
    above = math.hypot(better.high - better.value, worse.value - worse.low)
    return PerformanceDrop(drop, drop - below, drop + above)


def compare_quality(
    accepted: Accepted, champion: Champion, gate: GateConfig, store: Store
) -> ModelQuality:
    """Compare the champion's score on new rows with its score at registration."""
    reference = _load_reference_scores(champion, store)
    if reference is None:
        return ModelQuality(
            champion.version, unknown_reason="the store no longer has the champion's report"
        )
    rows = open_rows(store, accepted)
    scorer = open_scorer(versions.fetch_files(champion.name, champion.version), champion.version)
    metric = choose_metric(gate, scorer.featurizer.target.kind)
    row_filter, columns = _build_new_row_filter(champion, rows, scorer.featurizer, store)
    request = PredictionRequest(
        scorer,
        rows,
        _list_scaling_columns(scorer.featurizer),
        row_filter=row_filter,
        filter_columns=columns,
    )
    with TemporaryDirectory() as folder:
        predictions = _collect_scorable(
            _predict_new_rows(request, Path(folder)),
            scorer.featurizer.target.list_output_names(TARGET),
        )
    if len(predictions) < gate.min_rows:
        reason = f"only {len(predictions)} new rows have a known target; {gate.min_rows} are needed"
        return ModelQuality(champion.version, metric, len(predictions), unknown_reason=reason)
    found = score_predictions(predictions, scorer.featurizer, gate)
    current = found.scores.get(metric) if found else None
    if current is None or metric not in reference or not math.isfinite(current.low):
        reason = f"{metric} is not known at registration and now"
        return ModelQuality(champion.version, metric, len(predictions), unknown_reason=reason)
    drop = compute_drop(reference[metric], current, metric)
    return ModelQuality(
        champion.version, metric, len(predictions), reference[metric], current, drop
    )


@task(name="quality", task_run_name="quality of {name}", timeout_seconds=6 * 3600, **STAGE)
def measure_quality(
    accepted: Accepted, *, name: str, gate: GateConfig, store: StoreConfig
) -> ModelQuality:
    """Compare the champion's score on new rows with its score at registration."""
    champion = versions.find_champion(name)
    if champion is None:
        return ModelQuality(None, unknown_reason="there is no champion")
    found = compare_quality(accepted, champion, gate, open_store(store))
    if found.drop is None:
        logger().info("performance is unknown: %s", found.unknown_reason)
    else:
        message = "%s dropped by %.4f (%.4f to %.4f) on %s rows"
        logger().info(message, found.metric, *found.drop, found.rows)
    return found


def _load_reference_scores(champion: Champion, store: Store) -> dict[str, ScoreInterval] | None:
    """Read the scores of the champion's report by metric; None if the store no longer has it."""
    folder = find_artifact_dir(store, "evaluate", champion.report_key)
    if folder is None:
        return None
    return dict(read_report(folder).intervals)


def _build_new_row_filter(
    champion: Champion, rows: RowSet, featurizer: Featurizer, store: Store
) -> tuple[RowFilter | None, tuple[str, ...]]:
    """Build a filter of the rows that are newer than the champion's training, and its columns.

    Without the champion's accepted rows there is no filter: its training rows, which the version
    knows by their hashes, are left out of the predictions later.
    """
    accepted = find_by_key(store, "validate", champion.accepted_key, AcceptedFacts)
    columns = list_key_columns(featurizer.layout, featurizer.split.config)
    if accepted is None or any(name not in rows.schema for name in columns):
        return None, ()
    try:
        before = open_rows(store, accepted)
    except MissingArtifactError as error:
        logger().warning("the champion's rows are not left out by their hashes: %s", error)
        return None, ()
    if is_resampled(featurizer.layout):
        return _filter_later_steps(before, featurizer.layout.time or ""), ()
    frames = before.iter_frames(list(columns))
    known = np.unique(np.concatenate([hash_frame_rows(frame, list(columns)) for frame in frames]))

    def select_new(frame: pl.DataFrame) -> NDArray[np.bool_]:
        return ~mark_known(hash_frame_rows(frame, list(columns)), known)

    return select_new, columns


def _filter_later_steps(before: RowSet, time: str) -> RowFilter:
    """Build a filter of resampled steps that begin after the newest of the earlier rows."""
    newest = before.scan().select(pl.col(time).max()).collect(engine="streaming").item()
    return lambda frame: (frame[time] > newest).fill_null(value=False).to_numpy()


def _predict_new_rows(request: PredictionRequest, folder: Path) -> Iterator[LazyPredictions]:
    """Predict every row, or every window, that the request's filter selects."""
    if request.scorer.featurizer.layout.window is None:
        return predict_rows(request)
    return predict_windows(request, "all", folder, by_step=False)


def _list_scaling_columns(featurizer: Featurizer) -> tuple[str, ...]:
    """List the columns by which the errors of several columns are scaled: the entity, or none."""
    target, entity = featurizer.target, featurizer.layout.entity
    return (entity,) if target.parts and target.is_scaled_per_entity and entity else ()


def _collect_scorable(batches: Iterator[LazyPredictions], targets: Sequence[str]) -> pl.DataFrame:
    """Collect the last predictions with a known target that are not of training rows.

    Args:
        batches: of predictions.
        targets: columns with targets; of several, one has to be known.
    """
    tables: list[pl.DataFrame] = []
    for compute_batch in batches:
        table = compute_batch()
        scorable = (pl.col("status") == OK) & ~pl.col(IN_TRAINING).fill_null(value=False)
        if targets[0] in table.columns:
            scorable &= pl.any_horizontal(pl.col(name).is_not_null() for name in targets)
        tables.append(table.filter(scorable))
        while sum(map(len, tables[1:])) >= MAX_ROWS:
            tables.pop(0)
    return pl.concat(tables).tail(MAX_ROWS) if tables else pl.DataFrame()
