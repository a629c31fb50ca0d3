"""What models and baselines answer to the test rows, as codes or numbers that can be scored.

Shapes: R test rows.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.bundle import Bundle
from models.evaluation.baselines import Rows, answer_all
from models.evaluation.metrics import Answers
from models.features.featurizer import Featurizer
from models.features.series import ROW, line_up, resample, resampled, row_ahead
from models.features.signal import Tokens, Trees
from models.features.split import TEST, TRAINING
from models.features.target import to_numbers
from tasks.features_files import map_steps, read_sequences, side_values
from tasks.rows import RowSet

MOST_COLUMNS = 200
"""Values of a category up to which a baseline has a column for each."""


class TestRows(NamedTuple):
    """The rows that a model is judged on."""

    rows_R: NDArray[np.int64]
    """Their places in the snapshot."""
    answers_R: NDArray[np.int64]
    """The places of their answers."""
    truth_R: NDArray[np.float64]
    """Codes of their classes, or their numbers."""
    times: pl.Series | None
    """The time of each answer, where the source has one."""


def load_test(rows: RowSet, features_dir: Path, featurizer: Featurizer) -> TestRows:
    """Load the test rows and their answers."""
    table = read_sequences(features_dir, TEST)
    time = featurizer.layout.time
    times = rows.scan().select(time).collect().to_series() if time else None
    return TestRows(
        rows_R=table["row"].to_numpy(),
        answers_R=table["answer_row"].to_numpy(),
        truth_R=truth_of(table, featurizer),
        times=None if times is None else times.gather(table["answer_row"]),
    )


def truth_of(table: pl.DataFrame, featurizer: Featurizer) -> NDArray[np.float64]:
    """Answers of these sequences: codes of classes, or numbers in the target's unit."""
    if featurizer.target.classes:
        return table["target"].cast(pl.Float64).to_numpy()
    return to_numbers(table["answer"])


def answers_by(bundle: Bundle, rows: RowSet, test: TestRows) -> Answers:
    """Let a model answer the raw test rows, the way it serves."""
    layout = bundle.featurizer.layout
    if layout.window:
        frame = rows.scan().select(layout.raw_columns).collect(engine="streaming")
        answered = bundle.predict(frame, test.rows_R)
    else:
        parts, seen = [], 0
        for frame in rows.frames(layout.raw_columns):
            here = test.rows_R[(test.rows_R >= seen) & (test.rows_R < seen + len(frame))] - seen
            if len(here):
                parts.append(bundle.predict(frame[here]))
            seen += len(frame)
        answered = pl.concat(parts)
    return as_answers(answered, test, bundle.featurizer)


def as_answers(answered: pl.DataFrame, test: TestRows, featurizer: Featurizer) -> Answers:
    """Turn a model's table into codes or numbers."""
    classes = featurizer.target.classes
    if not classes:
        missing = np.full(len(test.truth_R), np.nan)
        return Answers(test.truth_R, to_numbers(answered["prediction"]), missing, 0)
    codes = featurizer.target.encode(answered["prediction"]).astype(np.float64)
    true_code = pl.Series(np.maximum(test.truth_R, 0).astype(np.int64))
    table = answered.with_columns(code=true_code)
    chance = table.select(pl.col("probabilities").list.get(pl.col("code"))).to_series()
    chances = np.where(test.truth_R < 0, 0.0, to_numbers(chance))
    return Answers(test.truth_R, codes, chances, len(classes))


def baseline_answers(
    rows: RowSet, features_dir: Path, featurizer: Featurizer, *, season: int
) -> dict[str, Answers]:
    """Let the baselines learn from the training sequences and answer the test rows."""
    values, signal = map_steps(features_dir), featurizer.signal

    def rows_of(table: pl.DataFrame) -> Rows:
        return Rows(
            values,
            table["start"].to_numpy(),
            table["stop"].to_numpy(),
            truth_of(table, featurizer),
            beside(table, featurizer),
            signal.size if isinstance(signal, (Tokens, Trees)) else 0,
        )

    test = read_sequences(features_dir, TEST)
    return answer_all(
        rows_of(read_sequences(features_dir, TRAINING, learned=True)),
        rows_of(test),
        classes=len(featurizer.target.classes),
        past=past_answers(rows, test, featurizer, season=season),
    )


def beside(table: pl.DataFrame, featurizer: Featurizer) -> NDArray[np.float64]:
    """Lay the side inputs out as numbers, a category as one column a value."""
    codes_RK, numbers_RF = side_values(table)
    parts = [numbers_RF.astype(np.float64)]
    for place, size in enumerate(featurizer.statics.sizes):
        if size <= MOST_COLUMNS:
            parts.append(np.eye(size)[codes_RK[:, place]])
    return np.concatenate(parts, axis=1)


def past_answers(
    rows: RowSet,
    test: pl.DataFrame,
    featurizer: Featurizer,
    *,
    season: int,
) -> dict[str, NDArray[np.float64]]:
    """Answer each forecast with the target's last known value, and with last season's."""
    layout, target = featurizer.layout, featurizer.target.column
    if layout.window is None or layout.window.horizon == 0:
        return {}
    columns = [name for name in (*layout.raw_columns, target) if name]
    frame = rows.scan().select(list(dict.fromkeys(columns))).collect()
    chosen_R = test["row"].to_numpy()
    if resampled(layout):
        averaged = None if featurizer.target.classes else target
        frame = resample(frame.with_row_index(ROW), layout, target=averaged)
        places = frame.select(row=pl.col(ROW).cast(pl.Int64)).with_row_index("place")
        found = test.select("row").join(places, on="row", how="left", maintain_order="left")
        chosen_R = found["place"].to_numpy().astype(np.int64)
    line, answers = line_up(frame, layout), frame[target]
    naive = {"last value": 0}
    if season > 1:
        seasons = -(-layout.window.horizon // season)
        naive["seasonal naive"] = layout.window.horizon - season * seasons
    known = (
        featurizer.target.encode(answers).astype(np.float64)
        if featurizer.target.classes
        else to_numbers(answers)
    )
    past = {}
    for name, offset in naive.items():
        source = row_ahead(line, offset)[chosen_R]
        past[name] = np.where(source >= 0, known[np.maximum(source, 0)], np.nan)
    if featurizer.target.classes:
        return {name: np.nan_to_num(values, nan=-1.0) for name, values in past.items()}
    return past
