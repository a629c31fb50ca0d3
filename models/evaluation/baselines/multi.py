"""Cheap answers that a network has to beat, where an answer is more than one value.

For tags: their shares, and a logistic regression each. For forecasts: the past again, and ridge
regression, once more measured from the last value seen. For texts: the most frequent one, and that
of the most similar training row.
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
"""Training windows that a regression of many steps sees at most."""


def predict_tags(training: SplitRows, test: SplitRows) -> dict[str, Flags]:
    """Answer each label by its share, and by a regression of its own; `target_S` is [S, K]."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multioutput import MultiOutputClassifier
    from sklearn.pipeline import make_pipeline

    target_SK = training.target_S
    usual_K = target_SK.mean(axis=0) >= 0.5
    found = {"shares": np.tile(usual_K, (len(test.starts_S), 1))}
    some = training.subsample(MAX_ROWS)
    varied = np.flatnonzero(some.target_S.any(axis=0) & ~some.target_S.all(axis=0))
    if len(varied):
        steps = find_max_length(training)
        one = LogisticRegression(C=ID_STRENGTH if training.ids else 1.0, max_iter=1000)
        model = make_pipeline(build_scaler(training), MultiOutputClassifier(one))
        model.fit(compute_features(some, flat_steps=steps), some.target_S[:, varied])
        said_SK = found["shares"].copy()
        said_SK[:, varied] = model.predict(compute_features(test, flat_steps=steps)) > 0
        found["logistic regression"] = said_SK
    return found


def predict_forecasts(training: SplitRows, test: SplitRows, *, channel: int) -> dict[str, Floats]:
    """Answer all steps by ridge regression; `target_S` is [S, T], scaled.

    Args:
        training: what it learns from; windows with gaps ahead are left out.
        test: the windows to answer.
        channel: the forecast's own past; -1 where that is not seen.
    """
    whole = np.flatnonzero(np.isfinite(training.target_S).all(axis=1))
    if not len(whole):
        return {}
    some = training.select(whole).subsample(FORECAST_ROWS)
    found = {"ridge regression": predict_by_ridge(some, test, steps=find_max_length(training))}
    if channel >= 0 and not training.ids:
        last_S, test_last_S = (rows.values_NC[rows.stops_S - 1, channel] for rows in (some, test))
        moved = some._replace(target_S=some.target_S - last_S[:, None])
        ahead_ST = predict_by_ridge(moved, test, steps=find_max_length(training), channel=channel)
        found["ridge from the last value"] = ahead_ST + test_last_S[:, None]
    return found


def predict_by_ridge(
    training: SplitRows, test: SplitRows, *, steps: int, channel: int = -1
) -> Floats:
    """Fit and answer; of one channel its steps' distance to the last may be read."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline

    def read(rows: SplitRows) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
        seen = compute_features(rows, flat_steps=steps)
        channels = rows.values_NC.shape[1]
        if channel >= 0 and seen.shape[1] >= steps * channels:
            last_S1 = rows.values_NC[rows.stops_S - 1, channel][:, None]
            seen[:, channel : steps * channels : channels] -= last_S1
        return seen

    chosen = Ridge() if training.ids else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model = make_pipeline(build_scaler(training), chosen)
    model.fit(read(training), training.target_S)
    return np.asarray(model.predict(read(test)))


def predict_texts(
    training: SplitRows, test: SplitRows, texts: Sequence[str]
) -> dict[str, list[str]]:
    """Answer with the most frequent text, and with that of the nearest training row."""
    from sklearn.neighbors import NearestNeighbors

    names, counts = np.unique(np.array(texts, dtype=object), return_counts=True)
    usual = str(names[counts.argmax()])
    found = {"most frequent": [usual] * len(test.starts_S)}
    places = training.thinned_places(MAX_ROWS)
    some, steps = training.select(places), find_max_length(training)
    scaled = build_scaler(training).fit(seen := compute_features(some, flat_steps=steps))
    nearest = NearestNeighbors(n_neighbors=1, metric="cosine" if training.ids else "euclidean")
    nearest.fit(scaled.transform(seen))
    near: NDArray[np.int64] = nearest.kneighbors(
        scaled.transform(compute_features(test, flat_steps=steps)), return_distance=False
    )[:, 0]
    return {**found, "nearest row": [texts[place] for place in places[near]]}
