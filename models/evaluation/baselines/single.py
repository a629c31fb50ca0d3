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

from models.evaluation.baselines.minirocket import Cut, convolve
from models.evaluation.predictions import MOST_CHANCES, Answers

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


class Rows(NamedTuple):
    """The sequences of one split and their answers."""

    values_NC: NDArray[Any]
    starts_S: NDArray[np.int64]
    stops_S: NDArray[np.int64]
    target_S: NDArray[Any]
    """Codes of classes, or numbers in the target's unit; a row of them where an answer has more."""
    beside_SF: NDArray[np.float64]
    """Side inputs."""
    ids: int = 0
    """V, where steps are ids; 0 where they are numbers."""
    paired: bool = False
    """Whether neighbouring ids mean something together, as words do."""

    def thinned(self, count: int) -> "Rows":
        """Take so many rows at most, spread evenly, so that every part of the data is there."""
        return self.picked(self.thinned_places(count))

    def thinned_places(self, count: int) -> NDArray[np.int64]:
        """Choose so many rows at most."""
        total = len(self.starts_S)
        return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)

    def picked(self, rows: NDArray[np.int64]) -> "Rows":
        """Take these rows."""
        return self._replace(
            starts_S=self.starts_S[rows],
            stops_S=self.stops_S[rows],
            target_S=self.target_S[rows],
            beside_SF=self.beside_SF[rows],
        )


def describe(rows: Rows, *, flat_steps: int) -> Any:  # noqa: ANN401 - an array, or a sparse matrix
    """Turn each sequence into a fixed number of features, [S, F]."""
    from scipy.sparse import csr_matrix, hstack

    if rows.ids:
        return hstack([count_ids(rows), csr_matrix(rows.beside_SF)], format="csr")
    return np.concatenate([describe_steps(rows, flat_steps=flat_steps), rows.beside_SF], axis=1)


def count_ids(rows: Rows) -> Any:  # noqa: ANN401 - a sparse matrix
    """Count the ids of each sequence, and of texts pairs of them, [S, V (+ PAIRS)], sparse."""
    from scipy.sparse import csr_matrix

    lengths = rows.stops_S - rows.starts_S
    edges = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(rows.starts_S - edges[:-1], lengths) + np.arange(edges[-1])
    ids = rows.values_NC[places, 0]
    if rows.paired and len(ids):
        # The last id of a sequence stands with what follows it nowhere.
        last = np.zeros(len(ids), bool)
        last[edges[1:][lengths > 0] - 1] = True
        second = np.where(last, rows.ids, np.roll(ids, -1)).astype(np.int64)
        pairs = rows.ids + (ids.astype(np.int64) * 1_000_003 + second) % PAIRS
        ids, edges = np.stack([ids, pairs], axis=1).reshape(-1), 2 * edges
    shape = (len(lengths), id_columns(rows))
    counts = csr_matrix((np.ones(len(ids)), ids, edges), shape=shape)
    counts.sum_duplicates()
    return counts


def id_columns(rows: Rows) -> int:
    """Count the columns of `count_ids`."""
    return rows.ids + PAIRS if rows.paired else rows.ids


def describe_steps(rows: Rows, *, flat_steps: int) -> NDArray[np.float64]:
    """Turn each sequence of numbers into a fixed number of features, [S, F]."""
    channels = rows.values_NC.shape[1]
    if 0 < flat_steps * channels <= MAX_FLAT:
        index = rows.stops_S[:, None] - flat_steps + np.arange(flat_steps)
        inside = index >= rows.starts_S[:, None]
        steps = rows.values_NC[np.maximum(index, 0)] * inside[:, :, None]
        return np.asarray(steps.reshape(len(index), -1), np.float64)
    ends = zip(rows.starts_S, rows.stops_S, strict=True)
    return np.stack([summary(rows.values_NC[start:stop]) for start, stop in ends])


def summary(steps_NC: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean, spread, extremes and last value of each channel."""
    parts = (
        steps_NC.mean(0),
        steps_NC.std(0),
        steps_NC.min(0),
        steps_NC.max(0),
        steps_NC[-1],
    )
    return np.concatenate(parts).astype(np.float64)


def scaling(rows: Rows) -> Any:  # noqa: ANN401 - scikit-learn's
    """Bring features to one scale: TF-IDF for counts of ids, standard scores for numbers."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import StandardScaler

    if not rows.ids:
        return StandardScaler()
    columns = id_columns(rows)
    parts = [("ids", TfidfTransformer(sublinear_tf=True), slice(0, columns))]
    if rows.beside_SF.shape[1]:
        beside = StandardScaler(with_mean=False)
        parts.append(("beside", beside, slice(columns, None)))
    return ColumnTransformer(parts)


def flat_length(rows: Rows) -> int:
    """Count the steps to lay side by side: those of the longest sequence."""
    return int((rows.stops_S - rows.starts_S).max())


def majority(training: Rows, test: Rows, classes: int) -> Answers:
    """Answer the most frequent class, with the classes' shares as probabilities."""
    counts = np.bincount(training.target_S.astype(np.int64), minlength=classes)
    shares = counts / counts.sum()
    probabilities = np.tile(shares, (len(test.target_S), 1))
    return classified(probabilities, np.arange(classes), test, classes)


def logistic(training: Rows, test: Rows, classes: int) -> Answers:
    """Logistic regression on standardised features, scikit-learn's defaults."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    steps = flat_length(training)
    some = training.thinned(MAX_ROWS)
    strength = ID_STRENGTH if training.ids else 1.0
    model = make_pipeline(scaling(training), LogisticRegression(C=strength, max_iter=1000))
    model.fit(describe(some, flat_steps=steps), some.target_S)
    probabilities = model.predict_proba(describe(test, flat_steps=steps))
    return classified(probabilities, model.classes_.astype(np.int64), test, classes)


def random_convolutions(training: Rows, test: Rows, classes: int) -> Answers | None:
    """Ridge classifier on random convolutions; None where steps are not read by them.

    Its scores are no probabilities; as such they are taken by their softmax.
    """
    from scipy.special import softmax
    from sklearn.linear_model import RidgeClassifierCV

    some = training.thinned(MAX_CONVOLVED)
    cuts = [Cut(rows.values_NC, rows.starts_S, rows.stops_S) for rows in (some, test)]
    if training.ids or (found := convolve(*cuts)) is None:
        return None
    model = RidgeClassifierCV(alphas=np.logspace(-1, 5, 10))
    model.fit(np.concatenate([found[0], some.beside_SF], axis=1), some.target_S)
    scores = model.decision_function(np.concatenate([found[1], test.beside_SF], axis=1))
    if scores.ndim == 1:
        scores = np.stack([-scores, scores], axis=1)
    return classified(softmax(2 * scores, axis=1), model.classes_.astype(np.int64), test, classes)


def classified(
    probabilities: NDArray[np.float64], known: NDArray[np.int64], test: Rows, classes: int
) -> Answers:
    """Turn probabilities of the known classes into answers."""
    full = np.zeros((len(probabilities), classes))
    full[:, known] = probabilities
    return answers_of(full, test.target_S)


def answers_of(probabilities_SK: NDArray[np.float64], truth_S: NDArray[np.float64]) -> Answers:
    """Answer with the likeliest class; a row of NaN gives no answer."""
    silent = np.isnan(probabilities_SK).any(axis=1)
    best = np.where(silent, np.nan, probabilities_SK.argmax(axis=1))
    codes = np.maximum(truth_S, 0).astype(np.int64)
    chance = np.where(truth_S < 0, 0.0, probabilities_SK[np.arange(len(codes)), codes])
    kept = probabilities_SK if probabilities_SK.size <= MOST_CHANCES else None
    return Answers(truth_S, best, chance, probabilities_SK.shape[1], kept)


def numbered(answer_S: NDArray[np.float64], test: Rows) -> Answers:
    """Wrap answers that are numbers."""
    return Answers(test.target_S, answer_S, np.full(len(answer_S), np.nan), 0)


def mean(training: Rows, test: Rows) -> Answers:
    """Answer the mean of the training rows."""
    return numbered(np.full(len(test.target_S), training.target_S.mean()), test)


def ridge(training: Rows, test: Rows) -> Answers:
    """Ridge regression, its strength chosen by leave-one-out."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.pipeline import make_pipeline

    steps = flat_length(training)
    some = training.thinned(MAX_ROWS)
    chosen = Ridge() if training.ids else RidgeCV(alphas=(0.1, 1.0, 10.0, 100.0, 1000.0))
    model = make_pipeline(scaling(training), chosen)
    model.fit(describe(some, flat_steps=steps), some.target_S)
    return numbered(model.predict(describe(test, flat_steps=steps)), test)


def answer_all(
    training: Rows,
    test: Rows,
    *,
    classes: int,
    past: Mapping[str, NDArray[np.float64]],
) -> dict[str, Answers]:
    """Let every baseline that fits the target answer the test rows.

    Args:
        training: what the regressions learn from.
        test: the rows to answer.
        classes: 0 for a number.
        past: for a forecast, answers taken from the target's own past, by name.
    """
    if classes:
        convolved = random_convolutions(training, test, classes)
        return {
            "majority": majority(training, test, classes),
            "logistic regression": logistic(training, test, classes),
            **({} if convolved is None else {"random convolutions": convolved}),
            **{name: from_past(values, test, classes) for name, values in past.items()},
        }
    return {
        "mean": mean(training, test),
        "ridge regression": ridge(training, test),
        **{name: numbered(values, test) for name, values in past.items()},
    }


def from_past(values: NDArray[np.float64], test: Rows, classes: int) -> Answers:
    """Answer with a class of the past, certain of it but for a small share."""
    certain = np.full((len(values), classes), 0.1 / max(classes - 1, 1))
    known = values >= 0
    certain[np.flatnonzero(known), values[known].astype(np.int64)] = 0.9
    certain[~known] = 1.0 / classes
    return answers_of(certain, test.target_S)
