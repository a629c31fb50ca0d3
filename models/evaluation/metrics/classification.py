"""Metrics of targets that are one of several classes, or any number of labels.

A row without a prediction, or with a class unknown in training, counts as an error in each of them.
Shapes: R rows, K classes or labels, B resamples.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import (
    AdditiveMetric,
    Floats,
    compute_ratio,
    divide_with_default,
    stack_columns,
)
from models.evaluation.predictions import SinglePredictions, TagPredictions

_TOP_K = 3
"""Most probable classes among which `top_3_accuracy` looks for the target."""


def count_confusion(predictions: SinglePredictions) -> NDArray[np.int64]:
    """Count rows by target and predicted class, [K + 1, K + 1].

    The last row counts classes unknown in training, the last column rows without a prediction.
    """
    size = predictions.num_classes + 1
    target_R, prediction_R = encode_targets(predictions), encode_predictions(predictions)
    return np.bincount(target_R * size + prediction_R, minlength=size * size).reshape(size, size)


def build_confusion_table(
    predictions: SinglePredictions, classes: tuple[Any, ...]
) -> tuple[list[str], NDArray[np.int64]]:
    """Return class names and counts; the last row and column only where they count a row."""
    counts, names = count_confusion(predictions), [str(name) for name in classes]
    if counts[-1].any() or counts[:, -1].any():
        return [*names, "(other)"], counts
    return names, counts[:-1, :-1]


def encode_targets(predictions: SinglePredictions) -> NDArray[np.int64]:
    """Return target class codes [R]; K for a class unknown in training."""
    return np.where(predictions.target_R < 0, predictions.num_classes, predictions.target_R).astype(
        np.int64
    )


def encode_predictions(predictions: SinglePredictions) -> NDArray[np.int64]:
    """Return predicted class codes [R]; K where there is no prediction."""
    missing_R = np.isnan(predictions.prediction_R)
    return np.where(missing_R, predictions.num_classes, predictions.prediction_R).astype(np.int64)


def mark_correct(predictions: SinglePredictions) -> NDArray[np.bool_]:
    """Mark the rows with a correct prediction, [R]."""
    return np.asarray(predictions.target_R == predictions.prediction_R)


def score_labels(predictions: TagPredictions, labels: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each label, with the number of rows that have it."""
    correct_K = (predictions.target_RK & predictions.prediction_RK).sum(axis=0)
    target_K, predicted_K = predictions.target_RK.sum(axis=0), predictions.prediction_RK.sum(axis=0)

    def divide(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    return [
        {
            "label": str(label),
            "rows": int(target_K[index]),
            "precision": divide(int(correct_K[index]), int(predicted_K[index])),
            "recall": divide(int(correct_K[index]), int(target_K[index])),
            "f1": divide(2 * int(correct_K[index]), int(predicted_K[index] + target_K[index])),
        }
        for index, label in enumerate(labels)
    ]


def _count_per_class(predictions: SinglePredictions) -> Any:  # noqa: ANN401 - a sparse matrix
    """Mark the class of each row: correct, target and predicted, [R, 3 (K + 1)], sparse."""
    from scipy.sparse import csr_array

    size, rows = predictions.num_classes + 1, np.arange(len(predictions))
    target_R, prediction_R, correct_R = (
        encode_targets(predictions),
        encode_predictions(predictions),
        mark_correct(predictions),
    )
    row = np.concatenate([rows[correct_R], rows, rows])
    column = np.concatenate([target_R[correct_R], size + target_R, 2 * size + prediction_R])
    return csr_array((np.ones(len(row)), (row, column)), shape=(len(predictions), 3 * size))


class _ClassCounts(NamedTuple):
    """Correct, target and predicted rows of each class, [B, K + 1] each."""

    correct: Floats
    target: Floats
    predicted: Floats

    @property
    def f1(self) -> Floats:
        """F1 of each class, [B, K + 1]; 0 for the last, unknown one."""
        return divide_with_default(2 * self.correct, self.target + self.predicted, default=0.0)


def _compute_mean_recall(sums_BF: Floats) -> Floats:
    """Average the recall over the classes that occur among the targets."""
    counts = _split_sums(sums_BF)
    recall_BK = divide_with_default(counts.correct, counts.target, default=0.0)
    return np.asarray(recall_BK.sum(axis=1) / (counts.target > 0).sum(axis=1))


def _compute_macro_f1(sums_BF: Floats) -> Floats:
    """Average F1 over the classes that occur as target or prediction; a missing one is no class."""
    counts = _split_sums(sums_BF)
    occurs_BK = counts.target + counts.predicted > 0
    occurs_BK[:, -1] = counts.target[:, -1] > 0
    return np.asarray((counts.f1 * occurs_BK).sum(axis=1) / occurs_BK.sum(axis=1))


def _compute_weighted_f1(sums_BF: Floats) -> Floats:
    """Average F1 over the classes, weighted by their rows."""
    counts = _split_sums(sums_BF)
    return np.asarray((counts.f1 * counts.target).sum(axis=1) / counts.target.sum(axis=1))


def _compute_micro_f1(sums_BF: Floats) -> Floats:
    """F1 of all classes together: the accuracy, where every row has a prediction."""
    counts = _split_sums(sums_BF)
    denominator_B = counts.target.sum(axis=1) + counts.predicted[:, :-1].sum(axis=1)
    return np.asarray(2 * counts.correct.sum(axis=1) / denominator_B)


def _compute_mcc(sums_BF: Floats) -> Floats:
    """Matthews correlation of targets and predictions; 0 where one of them is constant.

    The multiclass form (Gorodkin 2004), with c correct of s rows, and t_k and p_k targets and
    predictions of class k:
    (c s - sum_k t_k p_k) / sqrt((s^2 - sum_k t_k^2) (s^2 - sum_k p_k^2))
    """
    counts = _split_sums(sums_BF)
    rows_B = counts.target.sum(axis=1)
    expected_B = (counts.target[:, :-1] * counts.predicted[:, :-1]).sum(axis=1)
    variances_B = (rows_B**2 - (counts.target**2).sum(axis=1)) * (
        rows_B**2 - (counts.predicted**2).sum(axis=1)
    )
    return divide_with_default(
        counts.correct.sum(axis=1) * rows_B - expected_B, np.sqrt(variances_B), default=0.0
    )


def _compute_log_losses(predictions: SinglePredictions) -> Floats:
    """Return the negative logarithm of the target's probability, in nats, and 1 for each row."""
    probability_R = np.clip(np.nan_to_num(predictions.probability_R), 1e-15, 1.0)
    return stack_columns(-np.log(probability_R), np.ones(len(predictions)))


def _mark_top_k(predictions: SinglePredictions) -> Floats:
    """Mark rows whose target is among the most probable classes; zeros with too few classes."""
    if predictions.probabilities_RK is None or predictions.num_classes <= _TOP_K:
        return np.zeros((len(predictions), 2))
    code_R = np.maximum(predictions.target_R, 0).astype(np.int64)
    probabilities_RK = np.nan_to_num(predictions.probabilities_RK, nan=-1.0)
    own_R1 = probabilities_RK[np.arange(len(code_R)), code_R][:, None]
    # Of equal probabilities the later class ranks first, as in scikit-learn.
    later_RK = np.arange(predictions.num_classes) > code_R[:, None]
    rank_R = ((probabilities_RK > own_R1) | ((probabilities_RK == own_R1) & later_RK)).sum(axis=1)
    known_R = (predictions.target_R >= 0) & ~np.isnan(predictions.prediction_R)
    return stack_columns((rank_R < _TOP_K) & known_R, np.ones(len(predictions)))


accuracy = AdditiveMetric(
    lambda predictions: stack_columns(mark_correct(predictions), np.ones(len(predictions))),
    compute_ratio,
)
"""Share of rows with a correct prediction."""

balanced_accuracy = AdditiveMetric(_count_per_class, _compute_mean_recall)

macro_f1 = AdditiveMetric(_count_per_class, _compute_macro_f1)

weighted_f1 = AdditiveMetric(_count_per_class, _compute_weighted_f1)

micro_f1 = AdditiveMetric(_count_per_class, _compute_micro_f1)

mcc = AdditiveMetric(_count_per_class, _compute_mcc)

log_loss = AdditiveMetric(_compute_log_losses, compute_ratio)

top_3_accuracy = AdditiveMetric(_mark_top_k, compute_ratio)


def _mark_tags(predictions: TagPredictions) -> Floats:
    """Mark each label that is correct, and count it as target and as prediction, [R, 2 K]."""
    correct_RK = predictions.target_RK & predictions.prediction_RK
    either_RK = predictions.target_RK.astype(np.float64) + predictions.prediction_RK
    return np.concatenate([correct_RK, either_RK], axis=1)


def _compute_tag_macro_f1(sums_BF: Floats) -> Floats:
    """Average F1 over the labels that occur as target or prediction; 1 where none does."""
    correct_BK, either_BK = np.split(sums_BF, 2, axis=1)
    f1_BK = divide_with_default(2 * correct_BK, either_BK, default=0.0)
    labels_B = (either_BK > 0).sum(axis=1).astype(np.float64)
    return divide_with_default(f1_BK.sum(axis=1), labels_B, default=1.0)


def _compute_tag_micro_f1(sums_BF: Floats) -> Floats:
    """F1 of all labels together; 1 where none occurs."""
    correct_BK, either_BK = np.split(sums_BF, 2, axis=1)
    return divide_with_default(2 * correct_BK.sum(axis=1), either_BK.sum(axis=1), default=1.0)


tag_macro_f1 = AdditiveMetric(_mark_tags, _compute_tag_macro_f1)

tag_micro_f1 = AdditiveMetric(_mark_tags, _compute_tag_micro_f1)

tag_exact_match = AdditiveMetric(
    lambda predictions: stack_columns(
        (predictions.target_RK == predictions.prediction_RK).all(axis=1), np.ones(len(predictions))
    ),
    compute_ratio,
)
"""Share of rows whose predicted labels are exactly the target's."""

hamming_loss = AdditiveMetric(
    lambda predictions: stack_columns(
        (predictions.target_RK != predictions.prediction_RK).mean(axis=1), np.ones(len(predictions))
    ),
    compute_ratio,
)
"""Share of wrong decisions over rows and labels."""


def _split_sums(sums_BF: Floats) -> _ClassCounts:
    """Split the sums of `_count_per_class`."""
    return _ClassCounts(*np.split(sums_BF, 3, axis=1))
