"""A fixed number of features of each sequence, for the regressions among the baselines.

Features are the last steps side by side where sequences are short, else mean, standard deviation,
minimum, maximum and last value of each channel; of trees the count of each id, of texts also that
of each bigram, weighted by TF-IDF; and static covariates.
Shapes: N steps, S sequences, C channels, F features, V ids.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_MAX_FLAT_FEATURES = 2_000
"""Largest number of features with the steps side by side."""

BIGRAM_COLUMNS = 2**18
"""Hash buckets of bigrams; the few collisions hardly matter."""


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
    """Count the ids of each sequence, with bigrams in texts, [S, V (+ BIGRAM_COLUMNS)], sparse."""
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
        bigrams = rows.vocab_size + (ids.astype(np.int64) * 1_000_003 + second) % BIGRAM_COLUMNS
        ids, edges = np.stack([ids, bigrams], axis=1).reshape(-1), 2 * edges
    shape = (len(lengths), count_id_columns(rows))
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
    columns = count_id_columns(rows)
    parts = [("ids", TfidfTransformer(sublinear_tf=True), slice(0, columns))]
    if rows.static_features_SF.shape[1]:
        static_scaler = StandardScaler(with_mean=False)
        parts.append(("static", static_scaler, slice(columns, None)))
    return ColumnTransformer(parts)


def find_max_length(rows: SplitRows) -> int:
    """Return the number of steps of the longest sequence."""
    return int((rows.stops_S - rows.starts_S).max())


def count_id_columns(rows: SplitRows) -> int:
    """Return the number of columns of `count_ids`."""
    return rows.vocab_size + BIGRAM_COLUMNS if rows.with_bigrams else rows.vocab_size


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
