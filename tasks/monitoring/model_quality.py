"""Whether the champion still answers as well as it promised, on rows that came after its training.

What it promised is the score of its test rows, with its interval, in the report that it was
registered with; what it does now is its score on rows that were not there then and whose truth is
known. The interval of the fall is made of both intervals by squares that add up (MOVER: Newcombe
1998, Zou and Donner 2008), for the two sets of rows share none.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import task

from models.evaluation.metrics.by_kind import sign_of
from models.features.featurizer import Featurizer
from models.features.series import resampled
from models.features.splitting.duplicates import found_in
from models.features.splitting.row_hash import identities
from models.features.splitting.training_rows import row_columns
from tasks.dataset.rowset import RowSet, open_rows
from tasks.evaluation.observed_quality import MOST_ROWS, judge_answers
from tasks.gate.comparison import GateConfig, metric_name
from tasks.prediction.predict import (
    LEARNED,
    OK,
    TRUTH,
    Delayed,
    Question,
    Wanted,
    open_scorer,
    row_answers,
)
from tasks.prediction.predict_windows import window_answers
from tasks.records import Accepted, Champion
from tasks.registry import versions
from tasks.storage.artifacts import find_key, local_dir
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import STAGE, logger

Card = dict[str, float]
"""`value`, `low` and `high` of a score."""


class Fall(NamedTuple):
    """How far a score has fallen; below 0 where it has risen."""

    fall: float
    low: float
    high: float


class Quality(NamedTuple):
    """What was found."""

    champion: str | None
    metric: str = ""
    rows: int = 0
    """That came after the champion's training and have their truth."""
    promised: Card | None = None
    now: Card | None = None
    fall: Fall | None = None
    unknown: str | None = None
    """Why it cannot be told."""


def fall_of(promised: Card, now: Card, metric: str) -> Fall:
    """Measure a fall between two sets of rows that share none, with its interval."""
    sign = sign_of(metric)
    (better, worse) = (promised, now) if sign > 0 else (now, promised)
    fall = better["value"] - worse["value"]
    below = math.hypot(better["value"] - better["low"], worse["high"] - worse["value"])
    above = math.hypot(better["high"] - better["value"], worse["value"] - worse["low"])
    return Fall(fall, fall - below, fall + above)


def compare_quality(
    accepted: Accepted, champion: Champion, gate: GateConfig, store: Store
) -> Quality:
    """Compare the champion's score on new rows with the one that it promised."""
    promised = promise_of(champion, store)
    if promised is None:
        return Quality(champion.version, unknown="the store has the champion's report no more")
    rows = open_rows(store, accepted)
    scorer = open_scorer(versions.fetch_files(champion.name, champion.version), champion.version)
    metric = metric_name(gate, scorer.featurizer.target.kind)
    wanted, columns = came_after(champion, rows, scorer.featurizer, store)
    question = Question(scorer, rows, wanted=wanted, also=columns)
    with TemporaryDirectory() as folder:
        answered = judgeable(answers_of(question, Path(folder)))
    if len(answered) < gate.min_rows:
        words = f"{len(answered)} rows came since whose truth is known; {gate.min_rows} tell"
        return Quality(champion.version, metric, len(answered), unknown=words)
    found: dict[str, Any] = judge_answers(answered, scorer.featurizer, gate) or {"scores": {}}
    now = found["scores"].get(metric)
    if now is None or metric not in promised or not math.isfinite(now["low"]):
        words = f"{metric} cannot be told of both"
        return Quality(champion.version, metric, len(answered), unknown=words)
    fall = fall_of(promised[metric], now, metric)
    return Quality(champion.version, metric, len(answered), promised[metric], now, fall)


def promise_of(champion: Champion, store: Store) -> dict[str, Card] | None:
    """Read the scores that a version was registered with; None where they are gone."""
    report = find_key(store, "evaluate", champion.report_key)
    if report is None:
        return None
    text = (local_dir(store, report) / "report.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["intervals"])


def came_after(
    champion: Champion, rows: RowSet, featurizer: Featurizer, store: Store
) -> tuple[Wanted | None, tuple[str, ...]]:
    """Tell rows that were not there when the champion was trained, and by which columns.

    Where the store has its rows no more, those that it learned from are left out later.
    """
    accepted = find_key(store, "validate", champion.accepted_key)
    columns = row_columns(featurizer.layout, featurizer.split.config)
    if accepted is None or any(name not in rows.schema for name in columns):
        return None, ()
    before = open_rows(store, Accepted(accepted))
    if resampled(featurizer.layout):
        return later_than(before, featurizer.layout.time or ""), ()
    frames = before.frames(list(columns))
    known = np.unique(np.concatenate([identities(frame, list(columns)) for frame in frames]))

    def wanted(frame: pl.DataFrame) -> NDArray[np.bool_]:
        return ~found_in(identities(frame, list(columns)), known)

    return wanted, columns


def later_than(before: RowSet, time: str) -> Wanted:
    """Tell steps of a grid that begin after all rows that there were."""
    newest = before.scan().select(pl.col(time).max()).collect(engine="streaming").item()
    return lambda frame: (frame[time] > newest).fill_null(value=False).to_numpy()


def answers_of(question: Question, folder: Path) -> Iterator[Delayed]:
    """Ask about every row, or every window, that came after."""
    if question.scorer.featurizer.layout.window is None:
        return row_answers(question)
    return window_answers(question, "all", folder, by_step=False)


def judgeable(answers: Iterator[Delayed]) -> pl.DataFrame:
    """Keep the last answers whose truth is known, and that were not learned."""
    held: list[pl.DataFrame] = []
    for each in answers:
        table = each()
        good = (pl.col("status") == OK) & ~pl.col(LEARNED).fill_null(value=False)
        if TRUTH in table.columns:
            good &= pl.col(TRUTH).is_not_null()
        held.append(table.filter(good))
        while sum(map(len, held[1:])) >= MOST_ROWS:
            held.pop(0)
    return pl.concat(held).tail(MOST_ROWS) if held else pl.DataFrame()


@task(name="quality", task_run_name="quality of {name}", timeout_seconds=6 * 3600, **STAGE)
def measure_quality(
    accepted: Accepted, *, name: str, gate: GateConfig, store: StoreConfig
) -> Quality:
    """Compare the champion's score on new rows with the one that it promised."""
    champion = versions.find_champion(name)
    if champion is None:
        return Quality(None, unknown="there is no champion")
    found = compare_quality(accepted, champion, gate, open_store(store))
    if found.fall is None:
        logger().info("quality: %s", found.unknown)
    else:
        words = "%s fell by %.4f (%.4f to %.4f) on %s rows"
        logger().info(words, found.metric, *found.fall, found.rows)
    return found
