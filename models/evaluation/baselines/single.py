"""Cheap answers that a network has to beat, from the same sequences.

For classes: the most frequent one, logistic regression, and of series a ridge on random
convolutions. For numbers: the training mean, the
last value seen, the value one season ago, and ridge regression. Regressions see the last steps as
they are where sequences are short, else each channel's mean, spread, extremes and last value; of
trees, how often each id occurs, and of texts each pair of neighbours, too, weighted by TF-IDF. Side
inputs stand beside.
Shapes: S sequences, C channels, F features, V ids.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.minirocket import SplitSequences, convolve
from models.evaluation.predictions import MAX_PROBABILITIES, SinglePredictions

MAX_FLAT = 2_000
"""Features up to which steps are laid side by side."""

ID_STRENGTH = 10.0
"""Inverse strength of the penalty on weighted counts, which are small numbers."""

PAIRS = 2**18
"""Columns that pairs of ids share; that two of them fall on one hardly matters."""

MAX_ROWS = 50_000
"""Training rows that a regression sees at most."""


MAX_CONVOLVED = 4_000
"""Training rows whose convolutions a ridge sees at most."""


class SplitRows(NamedTuple):
    """The sequences of one split and their answers."""

    values_NC: NDArray[Any]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]
    target_S: NDArray[Any]
    """Codes of classes, or numbers in the target's unit; a row of them where an answer has more."""
    static_features_SF: NDArray[np.float64]
    """Side inputs."""
    ids: int = 0
    """V, where steps are ids; 0 where they are numbers."""
    with_bigrams: bool = False
    """Whether neighbouring ids mean something together, as words do."""

    def subsample(self, count: int) -> "SplitRows":
        """Take so many rows at most, spread evenly, so that every part of the data is there."""
        return self.select(self.thinned_places(count))

    def thinned_places(self, count: int) -> NDArray[np.int64]:
        """Choose so many rows at most."""
        total = len(self.starts_S)
        return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)

    def select(self, rows: NDArray[np.int64]) -> "SplitRows":
        """Take these rows."""
        return self._replace(
            starts_S=self.starts_S[rows],
            stops_S=self.stops_S[rows],
            target_S=self.target_S[rows],
            static_features_SF=self.static_features_SF[rows],
        )


def compute_features(rows: SplitRows, *, flat_steps: int) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
    """Turn each sequence into a fixed number of features, [S, F]."""
    from scipy.sparse import csr_matrix, hstack

    if rows.ids:
        return hstack([count_ids(rows), csr_matrix(rows.static_features_SF)], format="csr")
    return np.concatenate(
        [compute_step_features(rows, flat_steps=flat_steps), rows.static_features_SF], axis=1
    )


def count_ids(rows: SplitRows) -> Any:  # noqa: ANN401 - a sparse matrix
    """Count the ids of each sequence, and of texts pairs of them, [S, V (+ PAIRS)], sparse."""
    from scipy.sparse import csr_matrix

    lengths = rows.stops_S - rows.starts_S
    edges = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(rows.starts_S - edges[:-1], lengths) + np.arange(edges[-1])
    ids = rows.values_NC[places, 0]
    if rows.with_bigrams and len(ids):
        # The last id of a sequence stands with what follows it nowhere.
        last = np.zeros(len(ids), bool)
        last[edges[1:][lengths > 0] - 1] = True
        second = np.where(last, rows.ids, np.roll(ids, -1)).astype(np.int64)
        pairs = rows.ids + (ids.astype(np.int64) * 1_000_003 + second) % PAIRS
        ids, edges = np.stack([ids, pairs], axis=1).reshape(-1), 2 * edges
    shape = (len(lengths), count_id_columns(rows))
    counts = csr_matrix((np.ones(len(ids)), ids, edges), shape=shape)
    counts.sum_duplicates()
    return counts


def count_id_columns(rows: SplitRows) -> int:
    """Count the columns of `count_ids`."""
    return rows.ids + PAIRS if rows.with_bigrams else rows.ids


def compute_step_features(rows: SplitRows, *, flat_steps: int) -> NDArray[np.float64]:
    """Turn each sequence of numbers into a fixed number of features, [S, F]."""
    channels = rows.values_NC.shape[1]
    if 0 < flat_steps * channels <= MAX_FLAT:
        index = rows.stops_S[:, None] - flat_steps + np.arange(flat_steps)
        inside = index >= rows.starts_S[:, None]
        steps = rows.values_NC[np.maximum(index, 0)] * inside[:, :, None]
        return np.asarray(steps.reshape(len(index), -1), np.float64)
    ends = zip(rows.starts_S, rows.stops_S, strict=True)
    return np.stack([summarize_channels(rows.values_NC[start:stop]) for start, stop in ends])


def summarize_channels(steps_NC: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean, spread, extremes and last value of each channel."""
    parts = (
        steps_NC.mean(0),
        steps_NC.std(0),
        steps_NC.min(0),
        steps_NC.max(0),
        steps_NC[-1],
    )
    return np.concatenate(parts).astype(np.float64)


def build_scaler(rows: SplitRows) -> Any:  # noqa: ANN401 - scikit-learn's
    """Bring features to one scale: TF-IDF for counts of ids, standard scores for numbers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import StandardScaler

    if not rows.ids:
        return StandardScaler()
    columns = count_id_columns(rows)
    parts = [("ids", TfidfTransformer(sublinear_tf=True), slice(0, columns))]
    if rows.static_features_SF.shape[1]:
        beside = StandardScaler(with_mean=False)
        parts.append(("beside", beside, slice(columns, None)))
    return ColumnTransformer(parts)


def find_max_length(rows: SplitRows) -> int:
    """Count the steps to lay side by side: those of the longest sequence."""
    return int((rows.stops_S - rows.starts_S).max())


def predict_majority(training: SplitRows, test: SplitRows, classes: int) -> SinglePredictions:
    """Answer the most frequent class, with the classes' shares as probabilities."""
    counts = np.bincount(training.target_S.astype(np.int64), minlength=classes)
    shares = counts / counts.sum()
    probabilities = np.tile(shares, (len(test.target_S), 1))
    return expand_probabilities(probabilities, np.arange(classes), test, classes)


def predict_logistic(training: SplitRows, test: SplitRows, classes: int) -> SinglePredictions:
    """Logistic regression on standardised features, scikit-learn's defaults."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    steps = find_max_length(training)
    some = training.subsample(MAX_ROWS)
    strength = ID_STRENGTH if training.ids else 1.0
    model = make_pipeline(build_scaler(training), LogisticRegression(C=strength, max_iter=1000))
    model.fit(compute_features(some, flat_steps=steps), some.target_S)
    probabilities = model.predict_proba(compute_features(test, flat_steps=steps))
    return expand_probabilities(probabilities, model.classes_.astype(np.int64), test, classes)


def predict_random_convolutions(
    training: SplitRows, test: SplitRows, classes: int
) -> SinglePredictions | None:
    """Ridge classifier on random convolutions; None where steps are not read by them.

    Its scores are no probabilities; as such they are taken by their softmax.
    """
    from scipy.special import softmax
    from sklearn.linear_model import RidgeClassifierCV

    some = training.subsample(MAX_CONVOLVED)
    cuts = [SplitSequences(rows.values_NC, rows.starts_S, rows.stops_S) for rows in (some, test)]
    if training.ids or (found := convolve(*cuts)) is None:
        return None
    model = RidgeClassifierCV(alphas=np.logspace(-1, 5, 10))
    model.fit(np.concatenate([found[0], some.static_features_SF], axis=1), some.target_S)
    scores = model.decision_function(np.concatenate([found[1], test.static_features_SF], axis=1))
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return expand_probabilities(
        softmax(2 * scores, axis=1), model.classes_.astype(np.int64), test, classes
    )


def expand_probabilities(
    probabilities: NDArray[np.float64], known: NDArray[np.int64], test: SplitRows, classes: int
) -> SinglePredictions:
    """Turn probabilities of the known classes into answers."""
    full = np.zeros((len(probabilities), classes))
    full[:, known] = probabilities
    return predict_likeliest_class(full, test.target_S)


def predict_likeliest_class(
    probabilities_SK: NDArray[np.float64], target_S: NDArray[np.float64]
) -> SinglePredictions:
    """Answer with the likeliest class; a row of NaN gives no answer."""
    silent = np.isnan(probabilities_SK).any(axis=1)
    best = np.where(silent, np.nan, probabilities_SK.argmax(axis=1))
    codes = np.maximum(target_S, 0).astype(np.int64)
    chance = np.where(target_S < 0, 0.0, probabilities_SK[np.arange(len(codes)), codes])
    kept = probabilities_SK if probabilities_SK.size <= MAX_PROBABILITIES else None
    return SinglePredictions(target_S, best, chance, probabilities_SK.shape[1], kept)


def wrap_numbers(prediction_S: NDArray[np.float64], test: SplitRows) -> SinglePredictions:
    """Wrap answers that are numbers."""
    return SinglePredictions(test.target_S, prediction_S, np.full(len(prediction_S), np.nan), 0)


def predict_mean(training: SplitRows, test: SplitRows) -> SinglePredictions:
    """Answer the mean of the training rows."""
    return wrap_numbers(np.full(len(test.target_S), training.target_S.mean()), test)


def predict_ridge(training: SplitRows, test: SplitRows) -> SinglePredictions:
    """Ridge regression, its strength chosen by leave-one-out."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline

    steps = find_max_length(training)
    some = training.subsample(MAX_ROWS)
    chosen = Ridge() if training.ids else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model = make_pipeline(build_scaler(training), chosen)
    model.fit(compute_features(some, flat_steps=steps), some.target_S)
    return wrap_numbers(model.predict(compute_features(test, flat_steps=steps)), test)


def predict_all(
    training: SplitRows,
    test: SplitRows,
    *,
    classes: int,
    past: Mapping[str, NDArray[np.float64]],
) -> dict[str, SinglePredictions]:
    """Let every baseline that fits the target answer the test rows.

    Args:
        training: what the regressions learn from.
        test: the rows to answer.
        classes: 0 for a number.
        past: for a forecast, answers taken from the target's own past, by name.
    """
    if classes:
        convolved = predict_random_convolutions(training, test, classes)
        return {
            "majority": predict_majority(training, test, classes),
            "logistic regression": predict_logistic(training, test, classes),
            **({} if convolved is None else {"random convolutions": convolved}),
            **{name: predict_from_past(values, test, classes) for name, values in past.items()},
        }
    return {
        "mean": predict_mean(training, test),
        "ridge regression": predict_ridge(training, test),
        **{name: wrap_numbers(values, test) for name, values in past.items()},
    }


def predict_from_past(
    values: NDArray[np.float64], test: SplitRows, classes: int
) -> SinglePredictions:
    """Answer with a class of the past, certain of it but for a small share."""
    certain = np.full((len(values), classes), 0.1 / max(classes - 1, 1))
    known = values >= 0
    certain[np.flatnonzero(known), values[known].astype(np.int64)] = 0.9
    certain[~known] = 1.0 / classes
    return predict_likeliest_class(certain, test.target_S)
