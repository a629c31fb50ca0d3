"""Cheap baselines for targets of more than one value: tags, forecasts and texts.

Tags: the majority of each label, and a logistic regression for each. Forecasts: ridge regression,
on the values and on their differences from the last value. Texts: the most frequent one, and that
of the nearest training row.
Shapes: S sequences, K labels, T steps of a forecast, F features.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.single import (
    ID_STRENGTH,
    MAX_ROWS,
    SplitRows,
    build_scaler,
    compute_features,
    find_max_length,
)
from models.evaluation.predictions import Flags, Floats

FORECAST_ROWS = 10_000
"""Largest number of training windows for a regression of many steps."""


def predict_tags(training: SplitRows, test: SplitRows) -> dict[str, Flags]:
    """Predict each label by its majority and by logistic regression; `target_S` is [S, K]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline

    target_SK = training.target_S
    majority_K = target_SK.mean(axis=0) >= 0.5
    predictions = {"shares": np.tile(majority_K, (len(test.starts_S), 1))}
    sample = training.subsample(MAX_ROWS)
    varied = np.flatnonzero(sample.target_S.any(axis=0) & ~sample.target_S.all(axis=0))
    if len(varied):
        steps = find_max_length(training)
        regression = LogisticRegression(
            C=ID_STRENGTH if training.vocab_size else 1.0, max_iter=1000
        )
        model = make_pipeline(build_scaler(training), MultiOutputClassifier(regression))
        model.fit(compute_features(sample, flat_steps=steps), sample.target_S[:, varied])
        prediction_SK = predictions["shares"].copy()
        prediction_SK[:, varied] = model.predict(compute_features(test, flat_steps=steps)) > 0
        predictions["logistic regression"] = prediction_SK
    return predictions


def predict_forecasts(training: SplitRows, test: SplitRows, *, channel: int) -> dict[str, Floats]:
    """Predict all steps by ridge regression; `target_S` is [S, T], scaled.

    Args:
        training: windows to fit on; those with unknown steps are left out.
        test: windows to predict.
        channel: index of the target's own past among the inputs; -1 where it is not an input.
    """
    complete = np.flatnonzero(np.isfinite(training.target_S).all(axis=1))
    if not len(complete):
        return {}
    sample = training.select(complete).subsample(FORECAST_ROWS)
    predictions = {
        "ridge regression": _predict_by_ridge(sample, test, steps=find_max_length(training))
    }
    if channel >= 0 and not training.vocab_size:
        last_S, test_last_S = (rows.values_NC[rows.stops_S - 1, channel] for rows in (sample, test))
        differenced = sample._replace(target_S=sample.target_S - last_S[:, None])
        difference_ST = _predict_by_ridge(
            differenced, test, steps=find_max_length(training), channel=channel
        )
        predictions["ridge from the last value"] = difference_ST + test_last_S[:, None]
    return predictions


def predict_texts(
    training: SplitRows, test: SplitRows, texts: Sequence[str]
) -> dict[str, list[str]]:
    """Predict the most frequent text, and the text of the nearest training row."""
    from sklearn.neighbors import NearestNeighbors

    names, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    most_frequent = str(names[counts.argmax()])
    predictions = {"most frequent": [most_frequent] * len(test.starts_S)}
    indices = training.choose_row_indices(MAX_ROWS)
    sample, steps = training.select(indices), find_max_length(training)
    scaled = build_scaler(training).fit(features := compute_features(sample, flat_steps=steps))
    nearest = NearestNeighbors(
        n_neighbors=1, metric="cosine" if training.vocab_size else "euclidean"
    )
    nearest.fit(scaled.transform(features))
    nearest_S: NDArray[np.int64] = nearest.kneighbors(
        scaled.transform(compute_features(test, flat_steps=steps)), return_distance=False
    )[:, 0]
    return {**predictions, "nearest row": [texts[index] for index in indices[nearest_S]]}


def _predict_by_ridge(
    training: SplitRows, test: SplitRows, *, steps: int, channel: int = -1
) -> Floats:
    """Fit a ridge regression and predict, [S, T].

    With `channel`, the steps of that channel are read as differences from its last value.
    """
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline

    def build_features(rows: SplitRows) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
        features = compute_features(rows, flat_steps=steps)
        channels = rows.values_NC.shape[1]
        if channel >= 0 and features.shape[1] >= steps * channels:
            last_S1 = rows.values_NC[rows.stops_S - 1, channel][:, None]
            features[:, channel : steps * channels : channels] -= last_S1
        return features

    regressor = Ridge() if training.vocab_size else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model = make_pipeline(build_scaler(training), regressor)
    model.fit(build_features(training), training.target_S)
    return np.asarray(model.predict(build_features(test)))
