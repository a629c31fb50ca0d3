"""Cheap, strong baselines for one class or number a row, on the same sequences as the network.

Classes: the most frequent one, logistic regression, and for series a ridge classifier on random
convolutions. Numbers: the training mean and ridge regression. Windows also have the last value and
the value one season before. Features are those of `features.py`.
Shapes: S sequences, K classes, F features, O outputs.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.features import SplitRows, find_max_length
from models.evaluation.baselines.fitted import (
    LOG_ZERO,
    ConstantBaseline,
    FittedBaseline,
    LinearBaseline,
    Outputs,
)
from models.evaluation.baselines.minirocket import SplitSequences, fit_rocket
from models.evaluation.baselines.readers import ConvolutionReader, fit_reader
from models.evaluation.predictions import MAX_PROBABILITIES, SinglePredictions

ID_STRENGTH = 10.0
"""Inverse regularization strength for TF-IDF weights, which are small numbers."""

MAX_ROWS = 50_000
"""Largest number of training rows of a regression."""

_MAX_CONVOLVED_ROWS = 4_000
"""Largest number of training rows of a ridge classifier on convolutions."""


def fit_baselines(
    training: SplitRows, *, num_classes: int, test_steps: int
) -> dict[str, FittedBaseline]:
    """Fit every baseline that fits the target.

    Args:
        training: rows to fit on, with codes of classes or numbers.
        num_classes: K; 0 for a number.
        test_steps: steps of all rows that will be predicted: too many are not convolved.
    """
    if not num_classes:
        mean = ConstantBaseline(np.array([training.target_S.mean()]))
        return {"mean": mean, "ridge regression": fit_ridge(training)}
    fitted: dict[str, FittedBaseline] = {"majority": _fit_majority(training, num_classes)}
    if logistic := _fit_logistic(training, num_classes):
        fitted["logistic regression"] = logistic
    if by_convolutions := _fit_convolutions(training, num_classes, test_steps=test_steps):
        fitted["random convolutions"] = by_convolutions
    return fitted


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
    test_steps = int((test.stops_S - test.starts_S).sum())
    fitted = fit_baselines(training, num_classes=num_classes, test_steps=test_steps)
    outputs = {name: each.compute_outputs(test) for name, each in fitted.items()}
    if num_classes:
        return {
            **{name: read_classes(each, test) for name, each in outputs.items()},
            **{name: predict_from_past(values, test, num_classes) for name, values in past.items()},
        }
    numbers = {name: each[:, 0].astype(np.float64) for name, each in outputs.items()}
    return {name: wrap_numbers(values, test) for name, values in {**numbers, **past}.items()}


def read_classes(outputs_SK: Outputs, test: SplitRows) -> SinglePredictions:
    """Predict the likeliest class by log probabilities."""
    probabilities_SK = np.exp(outputs_SK.astype(np.float64))
    probabilities_SK /= probabilities_SK.sum(axis=1, keepdims=True)
    return choose_likeliest_class(probabilities_SK, test.target_S)


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


def predict_from_past(
    values: NDArray[np.float64], test: SplitRows, num_classes: int
) -> SinglePredictions:
    """Predict a class from the past with probability 0.9; all are equal where it is unknown."""
    probabilities_SK = np.full((len(values), num_classes), 0.1 / max(num_classes - 1, 1))
    known = values >= 0
    probabilities_SK[np.flatnonzero(known), values[known].astype(np.int64)] = 0.9
    probabilities_SK[~known] = 1.0 / num_classes
    return choose_likeliest_class(probabilities_SK, test.target_S)


def fit_ridge(training: SplitRows, *, channel: int = -1) -> LinearBaseline:
    """Fit a ridge regression; for numbers its strength is chosen by leave-one-out.

    Args:
        training: rows to fit on; `target_S` is [S], or [S, O].
        channel: the channel with the target's own past: it is read, and the target predicted, as a
            difference from its last value; -1 for none.
    """
    from sklearn.linear_model import Ridge, RidgeCV

    sample = training.subsample(MAX_ROWS)
    reader = fit_reader(sample, flat_steps=find_max_length(training), channel=channel)
    model = Ridge() if training.vocab_size else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model.fit(reader.transform(sample), sample.target_S)
    baseline = LinearBaseline(reader, channel=channel)
    baseline.set_weights(np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_))
    return baseline


def _fit_majority(training: SplitRows, num_classes: int) -> ConstantBaseline:
    """Predict the most frequent class, with the classes' shares as probabilities."""
    counts = np.bincount(training.target_S.astype(np.int64), minlength=num_classes)
    shares = counts / counts.sum()
    return ConstantBaseline(np.log(np.maximum(shares, np.exp(LOG_ZERO))))


def _fit_logistic(training: SplitRows, num_classes: int) -> LinearBaseline | None:
    """Fit a logistic regression with scikit-learn's defaults; None where there is one class."""
    from sklearn.linear_model import LogisticRegression

    sample = training.subsample(MAX_ROWS)
    if len(np.unique(sample.target_S)) < 2:
        return None
    reader = fit_reader(sample, flat_steps=find_max_length(training))
    strength = ID_STRENGTH if training.vocab_size else 1.0
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit(reader.transform(sample), sample.target_S)
    weight_KF, bias_K = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        weight_KF, bias_K = (np.concatenate([0 * each, each]) for each in (weight_KF, bias_K))
    baseline = LinearBaseline(reader, num_classes=num_classes)
    baseline.set_weights(weight_KF.T, bias_K, model.classes_.astype(np.int64))
    return baseline


def _fit_convolutions(
    training: SplitRows, num_classes: int, *, test_steps: int
) -> LinearBaseline | None:
    """Fit a ridge classifier on random convolutions; None where they cannot be computed.

    Its scores are not probabilities; their softmax is used instead.
    """
    from sklearn.linear_model import RidgeClassifierCV

    sample = training.subsample(_MAX_CONVOLVED_ROWS)
    if training.vocab_size or len(np.unique(sample.target_S)) < 2:
        return None
    sequences = SplitSequences(sample.values_NC, sample.starts_S, sample.stops_S)
    rocket = fit_rocket(sequences, other_steps=test_steps)
    if rocket is None:
        return None
    reader = ConvolutionReader(channels=sample.values_NC.shape[1], rocket=rocket)
    model = RidgeClassifierCV(alphas=np.logspace(-1, 5, 10))
    model.fit(reader.transform(sample), sample.target_S)
    weight_KF, bias_K = np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_)
    if len(model.classes_) == 2:
        weight_KF, bias_K = (np.concatenate([-each, each]) for each in (weight_KF, bias_K))
    baseline = LinearBaseline(reader, num_classes=num_classes)
    baseline.set_weights(2 * weight_KF.T, 2 * bias_K, model.classes_.astype(np.int64))
    return baseline
