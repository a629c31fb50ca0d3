"""Cheap, strong baselines for one class or number a row, on the same sequences as the network.

Classes: the most frequent one, logistic regression, and for series a ridge classifier on random
convolutions. Numbers: the training mean and ridge regression. Windows also have the last value and
the value one season before. Features are the last steps side by side where sequences are short,
else mean, standard deviation, minimum, maximum and last value of each channel; of trees the count
of each id, of texts also that of each bigram, weighted by TF-IDF; and static covariates.
Shapes: N steps, S sequences, C channels, F features, V ids.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.minirocket import SplitSequences, compute_convolution_features
from models.evaluation.predictions import MAX_PROBABILITIES, SinglePredictions

_MAX_FLAT_FEATURES = 2_000
"""Largest number of features with the steps side by side."""

ID_STRENGTH = 10.0
"""Inverse regularization strength for TF-IDF weights, which are small numbers."""

_BIGRAM_COLUMNS = 2**18
"""Hash buckets of bigrams; the few collisions hardly matter."""

MAX_ROWS = 50_000
"""Largest number of training rows of a regression."""

_MAX_CONVOLVED_ROWS = 4_000
"""Largest number of training rows of a ridge classifier on convolutions."""


class SplitRows(NamedTuple):
    """The sequences of one split with their targets."""

    values_NC: NDArray[Any]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]
    target_S: NDArray[Any]
    """Class codes, or numbers in the target's unit; [S, ...] where a target has several values."""
    static_features_SF: NDArray[np.float64]
    """Encoded static covariates."""
    vocab_size: int = 0
    """V, where steps are ids; 0 where they are numbers."""
    with_bigrams: bool = False
    """Whether the order of neighbouring ids matters, as in texts."""

    def subsample(self, count: int) -> "SplitRows":
        """Select at most `count` evenly spaced rows, so that every part of the data is included."""
        return self.select(self.choose_row_indices(count))

    def choose_row_indices(self, count: int) -> NDArray[np.int64]:
        """Return the indices of at most `count` evenly spaced rows."""
        total = len(self.starts_S)
        return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)

    def select(self, rows: NDArray[np.int64]) -> "SplitRows":
        """Select rows by index."""
        return self._replace(
            starts_S=self.starts_S[rows],
            stops_S=self.stops_S[rows],
            target_S=self.target_S[rows],
            static_features_SF=self.static_features_SF[rows],
        )


def compute_features(rows: SplitRows, *, flat_steps: int) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
    """Compute a fixed number of features of each sequence, [S, F].

    Args:
        rows: sequences of numbers or of ids.
        flat_steps: steps that are laid side by side, where these features are not too many.
    """
    from scipy.sparse import csr_matrix, hstack

    if rows.vocab_size:
        return hstack([count_ids(rows), csr_matrix(rows.static_features_SF)], format="csr")
    return np.concatenate(
        [compute_step_features(rows, flat_steps=flat_steps), rows.static_features_SF], axis=1
    )


def count_ids(rows: SplitRows) -> Any:  # noqa: ANN401 - a sparse matrix
    """Count the ids of each sequence, with bigrams in texts, [S, V (+ _BIGRAM_COLUMNS)], sparse."""
    from scipy.sparse import csr_matrix

    lengths = rows.stops_S - rows.starts_S
    edges = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.repeat(rows.starts_S - edges[:-1], lengths) + np.arange(edges[-1])
    ids = rows.values_NC[indices, 0]
    if rows.with_bigrams and len(ids):
        # The last id of a sequence forms a bigram with an end mark, not with the next sequence.
        last = np.zeros(len(ids), bool)
        last[edges[1:][lengths > 0] - 1] = True
        second = np.where(last, rows.vocab_size, np.roll(ids, -1)).astype(np.int64)
        bigrams = rows.vocab_size + (ids.astype(np.int64) * 1_000_003 + second) % _BIGRAM_COLUMNS
        ids, edges = np.stack([ids, bigrams], axis=1).reshape(-1), 2 * edges
    shape = (len(lengths), _count_id_columns(rows))
    counts = csr_matrix((np.ones(len(ids)), ids, edges), shape=shape)
    counts.sum_duplicates()
    return counts


def compute_step_features(rows: SplitRows, *, flat_steps: int) -> NDArray[np.float64]:
    """Compute a fixed number of features of each sequence of numbers, [S, F]."""
    channels = rows.values_NC.shape[1]
    if 0 < flat_steps * channels <= _MAX_FLAT_FEATURES:
        index = rows.stops_S[:, None] - flat_steps + np.arange(flat_steps)
        inside = index >= rows.starts_S[:, None]
        steps = rows.values_NC[np.maximum(index, 0)] * inside[:, :, None]
        return np.asarray(steps.reshape(len(index), -1), np.float64)
    ends = zip(rows.starts_S, rows.stops_S, strict=True)
    return np.stack([_summarize_channels(rows.values_NC[start:stop]) for start, stop in ends])


def build_scaler(rows: SplitRows) -> Any:  # noqa: ANN401 - scikit-learn's
    """Build the scaler of the features: TF-IDF for counts of ids, standardization for numbers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import StandardScaler

    if not rows.vocab_size:
        return StandardScaler()
    columns = _count_id_columns(rows)
    parts = [("ids", TfidfTransformer(sublinear_tf=True), slice(0, columns))]
    if rows.static_features_SF.shape[1]:
        static_scaler = StandardScaler(with_mean=False)
        parts.append(("static", static_scaler, slice(columns, None)))
    return ColumnTransformer(parts)


def find_max_length(rows: SplitRows) -> int:
    """Return the number of steps of the longest sequence."""
    return int((rows.stops_S - rows.starts_S).max())


def predict_random_convolutions(
    training: SplitRows, test: SplitRows, num_classes: int
) -> SinglePredictions | None:
    """Predict by a ridge classifier on random convolutions; None where they cannot be computed.

    Its scores are not probabilities; their softmax is used instead.
    """
    from scipy.special import softmax
    from sklearn.linear_model import RidgeClassifierCV

    sample = training.subsample(_MAX_CONVOLVED_ROWS)
    splits = [
        SplitSequences(rows.values_NC, rows.starts_S, rows.stops_S) for rows in (sample, test)
    ]
    if training.vocab_size or (features := compute_convolution_features(*splits)) is None:
        return None
    model = RidgeClassifierCV(alphas=np.logspace(-1, 5, 10))
    model.fit(np.concatenate([features[0], sample.static_features_SF], axis=1), sample.target_S)
    scores = model.decision_function(np.concatenate([features[1], test.static_features_SF], axis=1))
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return _expand_probabilities(
        softmax(2 * scores, axis=1), model.classes_.astype(np.int64), test, num_classes
    )


def choose_likeliest_class(
    probabilities_SK: NDArray[np.float64], target_S: NDArray[np.float64]
) -> SinglePredictions:
    """Predict the class with the highest probability; no prediction where a row has a NaN."""
    missing = np.isnan(probabilities_SK).any(axis=1)
    best = np.where(missing, np.nan, probabilities_SK.argmax(axis=1))
    codes = np.maximum(target_S, 0).astype(np.int64)
    target_probability = np.where(target_S < 0, 0.0, probabilities_SK[np.arange(len(codes)), codes])
    retained = probabilities_SK if probabilities_SK.size <= MAX_PROBABILITIES else None
    return SinglePredictions(
        target_S, best, target_probability, probabilities_SK.shape[1], retained
    )


def wrap_numbers(prediction_S: NDArray[np.float64], test: SplitRows) -> SinglePredictions:
    """Pair predicted numbers with their targets."""
    return SinglePredictions(test.target_S, prediction_S, np.full(len(prediction_S), np.nan), 0)


def predict_baselines(
    training: SplitRows,
    test: SplitRows,
    *,
    num_classes: int,
    past: Mapping[str, NDArray[np.float64]],
) -> dict[str, SinglePredictions]:
    """Predict the test rows with every baseline that fits the target.

    Args:
        training: rows to fit on.
        test: rows to predict.
        num_classes: number of classes; 0 for a number.
        past: of windows, predictions from the target's own past, by name.
    """
    if num_classes:
        by_convolutions = predict_random_convolutions(training, test, num_classes)
        return {
            "majority": _predict_majority(training, test, num_classes),
            "logistic regression": _predict_logistic(training, test, num_classes),
            **({} if by_convolutions is None else {"random convolutions": by_convolutions}),
            **{name: predict_from_past(values, test, num_classes) for name, values in past.items()},
        }
    return {
        "mean": _predict_mean(training, test),
        "ridge regression": _predict_ridge(training, test),
        **{name: wrap_numbers(values, test) for name, values in past.items()},
    }


def predict_from_past(
    values: NDArray[np.float64], test: SplitRows, num_classes: int
) -> SinglePredictions:
    """Predict a class from the past with probability 0.9; all are equal where it is unknown."""
    probabilities_SK = np.full((len(values), num_classes), 0.1 / max(num_classes - 1, 1))
    known = values >= 0
    probabilities_SK[np.flatnonzero(known), values[known].astype(np.int64)] = 0.9
    probabilities_SK[~known] = 1.0 / num_classes
    return choose_likeliest_class(probabilities_SK, test.target_S)


def _count_id_columns(rows: SplitRows) -> int:
    """Return the number of columns of `count_ids`."""
    return rows.vocab_size + _BIGRAM_COLUMNS if rows.with_bigrams else rows.vocab_size


def _summarize_channels(steps_NC: NDArray[np.float32]) -> NDArray[np.float64]:
    """Compute mean, standard deviation, minimum, maximum and last value of each channel, [5 C]."""
    parts = (
        steps_NC.mean(0),
        steps_NC.std(0),
        steps_NC.min(0),
        steps_NC.max(0),
        steps_NC[-1],
    )
    return np.concatenate(parts).astype(np.float64)


def _predict_majority(training: SplitRows, test: SplitRows, num_classes: int) -> SinglePredictions:
    """Predict the most frequent class, with the classes' shares as probabilities."""
    counts = np.bincount(training.target_S.astype(np.int64), minlength=num_classes)
    shares = counts / counts.sum()
    probabilities = np.tile(shares, (len(test.target_S), 1))
    return _expand_probabilities(probabilities, np.arange(num_classes), test, num_classes)


def _predict_logistic(training: SplitRows, test: SplitRows, num_classes: int) -> SinglePredictions:
    """Predict by logistic regression on scaled features, with scikit-learn's defaults."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    steps = find_max_length(training)
    sample = training.subsample(MAX_ROWS)
    strength = ID_STRENGTH if training.vocab_size else 1.0
    model = make_pipeline(build_scaler(training), LogisticRegression(C=strength, max_iter=1000))
    model.fit(compute_features(sample, flat_steps=steps), sample.target_S)
    probabilities = model.predict_proba(compute_features(test, flat_steps=steps))
    return _expand_probabilities(probabilities, model.classes_.astype(np.int64), test, num_classes)


def _expand_probabilities(
    probabilities: NDArray[np.float64], known: NDArray[np.int64], test: SplitRows, num_classes: int
) -> SinglePredictions:
    """Add zeros for the classes that the sample lacks, and predict the likeliest class."""
    all_SK = np.zeros((len(probabilities), num_classes))
    all_SK[:, known] = probabilities
    return choose_likeliest_class(all_SK, test.target_S)


def _predict_mean(training: SplitRows, test: SplitRows) -> SinglePredictions:
    """Predict the mean of the training rows."""
    return wrap_numbers(np.full(len(test.target_S), training.target_S.mean()), test)


def _predict_ridge(training: SplitRows, test: SplitRows) -> SinglePredictions:
    """Predict by ridge regression; for numbers its strength is chosen by leave-one-out."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline

    steps = find_max_length(training)
    sample = training.subsample(MAX_ROWS)
    regressor = Ridge() if training.vocab_size else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model = make_pipeline(build_scaler(training), regressor)
    model.fit(compute_features(sample, flat_steps=steps), sample.target_S)
    return wrap_numbers(model.predict(compute_features(test, flat_steps=steps)), test)
