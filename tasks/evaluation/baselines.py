"""What the baselines answer to the test rows.

Shapes: S sequences, K labels, T steps of a forecast.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluation.baselines.multi import (
    FORECAST_ROWS,
    forecast_answers,
    tag_answers,
    text_answers,
)
from models.evaluation.baselines.single import Rows, answer_all
from models.evaluation.metrics.forecast import judge_forecasts
from models.evaluation.metrics.text import judge_texts
from models.evaluation.predictions import Floats, Judged, Mined, Steps, Tags
from models.features.feature_spec import Tokens, Trees
from models.features.featurizer import Featurizer
from models.features.splitting.split import TEST, TRAINING
from models.features.target import to_numbers
from tasks.dataset.feature_files import map_steps, read_sequences, side_values
from tasks.dataset.labels import TestRows, ahead, scales_of, truth_of
from tasks.dataset.rowset import RowSet
from tasks.prediction.naive_forecast import past_answers, past_forecasts, past_of

MOST_COLUMNS = 200
"""Values of a category up to which a baseline has a column for each."""


class Baselines:
    """The training and test sequences, and the baselines that fit the target."""

    def __init__(
        self, rows: RowSet, features_dir: Path, featurizer: Featurizer, *, season: int
    ) -> None:
        self.rows, self.folder, self.featurizer = rows, features_dir, featurizer
        self.season = season
        self.test = read_sequences(features_dir, TEST)

    def answers(self, answered: pl.DataFrame, test: TestRows, scale_R: Floats) -> dict[str, Judged]:
        """Let every baseline answer the test rows.

        Args:
            answered: the candidate's answers, which for what is mined tell the naive errors, too.
            test: the rows.
            scale_R: of forecasts, the errors in their past.
        """
        kind = self.featurizer.target.kind
        if kind in {"category", "number"}:
            return self.single()
        if kind == "tags":
            training, asked = self.known(TRAINING), self.known(TEST)
            said = tag_answers(training, asked)
            return {name: Tags(test.truth, held) for name, held in said.items()}
        if kind == "text":
            return self.texts(test)
        if kind == "forecast":
            return self.forecasts(test, scale_R)
        return mined(answered)

    def known(self, split: int) -> Rows:
        """Read the sequences of a split with their answers."""
        table = self.test if split == TEST else read_sequences(self.folder, split, learned=True)
        return self.of(table)

    def of(self, table: pl.DataFrame) -> Rows:
        """Lay these sequences out, with their answers."""
        return self.sequences(table, truth_of(table, self.folder, self.rows, self.featurizer))

    def sequences(self, table: pl.DataFrame, truth: Any) -> Rows:  # noqa: ANN401 - by the kind
        """Lay sequences out for the baselines."""
        signal = self.featurizer.signal
        return Rows(
            map_steps(self.folder),
            table["start"].to_numpy(),
            table["stop"].to_numpy(),
            truth,
            beside(table, self.featurizer),
            signal.size if isinstance(signal, (Tokens, Trees)) else 0,
            isinstance(signal, Tokens),
        )

    def single(self) -> dict[str, Judged]:
        """Answer with one class or number."""
        classes, window = len(self.featurizer.target.classes), self.featurizer.layout.window
        past: dict[str, Floats] = {}
        if window is not None and window.horizon > 0:
            line = past_of(self.rows, self.test, self.featurizer)
            past = past_answers(line, horizon=window.horizon, season=self.season)
        if classes:
            past = {name: np.nan_to_num(values, nan=-1.0) for name, values in past.items()}
        found = answer_all(self.known(TRAINING), self.known(TEST), classes=classes, past=past)
        return dict(found)

    def forecasts(self, test: TestRows, scale_R: Floats) -> dict[str, Judged]:
        """Answer with the past, and with regressions on scaled windows."""
        horizon = test.truth.shape[1]
        line = past_of(self.rows, self.test, self.featurizer)
        found = past_forecasts(line, horizon=horizon, season=self.season)
        table = read_sequences(self.folder, TRAINING, learned=True)
        places = np.linspace(0, len(table) - 1, min(len(table), 2 * FORECAST_ROWS)).round()
        table = table[places.astype(np.int64)]
        scaled = self.sequences(table, ahead(table, self.folder, self.featurizer))
        asked = self.sequences(self.test, ahead(self.test, self.folder, self.featurizer))
        means_R, spreads_R = scales_of(self.test, self.rows, self.featurizer)
        channel = self.featurizer.own_channel
        for name, said_RT in forecast_answers(scaled, asked, channel=channel).items():
            found[name] = said_RT * spreads_R[:, None] + means_R[:, None]
        return {
            name: judge_forecasts(Steps(test.truth, said_RT, (), ()), scale_R)
            for name, said_RT in found.items()
        }

    def texts(self, test: TestRows) -> dict[str, Judged]:
        """Answer with texts of training."""
        table = read_sequences(self.folder, TRAINING, learned=True)
        nothing: NDArray[np.float64] = np.zeros(len(table))
        training = self.sequences(table, nothing)
        asked = self.sequences(self.test, np.zeros(len(self.test)))
        said = text_answers(training, asked, table["answer"].cast(pl.String).to_list())
        truth = test.truth.to_list()
        return {name: judge_texts(truth, texts) for name, texts in said.items()}


def mined(answered: pl.DataFrame) -> dict[str, Judged]:
    """Say always the usual, or the step before."""
    usual_R = to_numbers(answered["usual_error"])
    before_R = to_numbers(answered["step_before_error"])
    found: dict[str, Judged] = {"the usual": Mined(usual_R, usual_R)}
    if not np.isnan(before_R).all():
        found["the step before"] = Mined(before_R, usual_R)
    return found


def beside(table: pl.DataFrame, featurizer: Featurizer) -> NDArray[np.float64]:
    """Lay the side inputs out as numbers, a category as one column a value."""
    codes_RK, numbers_RF = side_values(table)
    parts = [numbers_RF.astype(np.float64)]
    for place, size in enumerate(featurizer.statics.sizes):
        if size <= MOST_COLUMNS:
            parts.append(np.eye(size)[codes_RK[:, place]])
    return np.concatenate(parts, axis=1)
