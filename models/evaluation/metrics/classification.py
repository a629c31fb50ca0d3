"""Metrics of answers that are one class of several, or any number of labels.

An unanswered row, and a class that training never showed, are wrong in every one of them.
Shapes: R rows, K classes or labels, B resamples.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.metrics.additive import (
    AdditiveMetric,
    Floats,
    compute_ratio,
    divide_or,
    stack_columns,
)
from models.evaluation.predictions import SinglePredictions, TagPredictions

TOP_K = 3
"""Answers among which `top_3_accuracy` looks for the right one."""


def count_confusion(answers: SinglePredictions) -> NDArray[np.int64]:
    """Count true class by answered class, [K + 1, K + 1]; the last is unseen or unanswered."""
    size = answers.classes + 1
    truth, answer = encode_targets(answers), encode_predictions(answers)
    return np.bincount(truth * size + answer, minlength=size * size).reshape(size, size)


def build_confusion_table(
    answers: SinglePredictions, classes: tuple[Any, ...]
) -> tuple[list[str], NDArray[np.int64]]:
    """Name the classes of `confusion`; what is unseen or unanswered only where there is some."""
    counts, names = count_confusion(answers), [str(name) for name in classes]
    if counts[-1].any() or counts[:, -1].any():
        return [*names, "(other)"], counts
    return names, counts[:-1, :-1]


def encode_targets(answers: SinglePredictions) -> NDArray[np.int64]:
    """Return true classes; the last code is one that training never showed."""
    return np.where(answers.target_R < 0, answers.classes, answers.target_R).astype(np.int64)


def encode_predictions(answers: SinglePredictions) -> NDArray[np.int64]:
    """Return answered classes; the last code is no answer."""
    silent = np.isnan(answers.prediction_R)
    return np.where(silent, answers.classes, answers.prediction_R).astype(np.int64)


def mark_correct(answers: SinglePredictions) -> NDArray[np.bool_]:
    """Mark the rows answered right."""
    return np.asarray(answers.target_R == answers.prediction_R)


def count_per_class(answers: SinglePredictions) -> Any:  # noqa: ANN401 - a sparse matrix
    """Mark the class that was right, true and answered, [R, 3 (K + 1)], sparse."""
    from scipy.sparse import csr_array

    size, rows = answers.classes + 1, np.arange(len(answers))
    truth, answer, hit = encode_targets(answers), encode_predictions(answers), mark_correct(answers)
    row = np.concatenate([rows[hit], rows, rows])
    column = np.concatenate([truth[hit], size + truth, 2 * size + answer])
    return csr_array((np.ones(len(row)), (row, column)), shape=(len(answers), 3 * size))


class ClassCounts(NamedTuple):
    """How many rows of each class were right, true and answered, [B, K + 1] each."""

    right: Floats
    true: Floats
    answered: Floats

    @property
    def f1(self) -> Floats:
        """F1 of each class, [B, K + 1]; the last, of what was never seen, is 0."""
        return divide_or(2 * self.right, self.true + self.answered, otherwise=0.0)


def split_sums(sums_BF: Floats) -> ClassCounts:
    """Name the sums of `counted`."""
    return ClassCounts(*np.split(sums_BF, 3, axis=1))


def compute_mean_recall(sums_BF: Floats) -> Floats:
    """Average recall over the classes that occur."""
    found = split_sums(sums_BF)
    recall_BK = divide_or(found.right, found.true, otherwise=0.0)
    return np.asarray(recall_BK.sum(axis=1) / (found.true > 0).sum(axis=1))


def compute_macro_f1(sums_BF: Floats) -> Floats:
    """Average F1 over the classes that occur as truth or as answer; silence is no class."""
    found = split_sums(sums_BF)
    seen_BK = found.true + found.answered > 0
    seen_BK[:, -1] = found.true[:, -1] > 0
    return np.asarray((found.f1 * seen_BK).sum(axis=1) / seen_BK.sum(axis=1))


def compute_weighted_f1(sums_BF: Floats) -> Floats:
    """Average F1 over classes, each as often as it is true."""
    found = split_sums(sums_BF)
    return np.asarray((found.f1 * found.true).sum(axis=1) / found.true.sum(axis=1))


def compute_micro_f1(sums_BF: Floats) -> Floats:
    """F1 of all classes together: accuracy, where every row is answered."""
    found = split_sums(sums_BF)
    either_B = found.true.sum(axis=1) + found.answered[:, :-1].sum(axis=1)
    return np.asarray(2 * found.right.sum(axis=1) / either_B)


def compute_mcc(sums_BF: Floats) -> Floats:
    """Correlate truth and answers (Matthews 1975; Gorodkin 2004); 0 where one never varies."""
    found = split_sums(sums_BF)
    rows_B = found.true.sum(axis=1)
    both_B = (found.true[:, :-1] * found.answered[:, :-1]).sum(axis=1)
    free_B = (rows_B**2 - (found.true**2).sum(axis=1)) * (
        rows_B**2 - (found.answered**2).sum(axis=1)
    )
    return divide_or(found.right.sum(axis=1) * rows_B - both_B, np.sqrt(free_B), otherwise=0.0)


def compute_log_losses(answers: SinglePredictions) -> Floats:
    """Negative logarithm of the true class's probability, in nats, and one a row."""
    probability_R = np.clip(np.nan_to_num(answers.probability_R), 1e-15, 1.0)
    return stack_columns(-np.log(probability_R), np.ones(len(answers)))


def mark_top_k(answers: SinglePredictions) -> Floats:
    """Mark rows whose true class is among the likeliest few; nothing is told of few classes."""
    if answers.probabilities_RK is None or answers.classes <= TOP_K:
        return np.zeros((len(answers), 2))
    code_R = np.maximum(answers.target_R, 0).astype(np.int64)
    probabilities_RK = np.nan_to_num(answers.probabilities_RK, nan=-1.0)
    own_R1 = probabilities_RK[np.arange(len(code_R)), code_R][:, None]
    # Of equal chances the later class comes first, as scikit-learn has it.
    later_RK = np.arange(answers.classes) > code_R[:, None]
    before_R = ((probabilities_RK > own_R1) | ((probabilities_RK == own_R1) & later_RK)).sum(axis=1)
    known_R = (answers.target_R >= 0) & ~np.isnan(answers.prediction_R)
    return stack_columns((before_R < TOP_K) & known_R, np.ones(len(answers)))


accuracy = AdditiveMetric(
    lambda answers: stack_columns(mark_correct(answers), np.ones(len(answers))), compute_ratio
)
"""Share of rows answered right."""

balanced_accuracy = AdditiveMetric(count_per_class, compute_mean_recall)
macro_f1 = AdditiveMetric(count_per_class, compute_macro_f1)
weighted_f1 = AdditiveMetric(count_per_class, compute_weighted_f1)
micro_f1 = AdditiveMetric(count_per_class, compute_micro_f1)
mcc = AdditiveMetric(count_per_class, compute_mcc)
log_loss = AdditiveMetric(compute_log_losses, compute_ratio)
top_3_accuracy = AdditiveMetric(mark_top_k, compute_ratio)


def mark_tags(tags: TagPredictions) -> Floats:
    """Mark of each label whether it was found, and how often it was said and true, [R, 2 K]."""
    found_RK = tags.target_RK & tags.prediction_RK
    either_RK = tags.target_RK.astype(np.float64) + tags.prediction_RK
    return np.concatenate([found_RK, either_RK], axis=1)


def count_tags(tags: TagPredictions) -> tuple[Floats, Floats]:
    """Count of each label how often it was found, and how often it was said or true."""
    found_K, either_K = np.split(mark_tags(tags).sum(axis=0), 2)
    return found_K, either_K


def compute_tag_macro_f1(sums_BF: Floats) -> Floats:
    """Average F1 over the labels that occur as truth or as answer; 1 where none does."""
    found_BK, either_BK = np.split(sums_BF, 2, axis=1)
    f1_BK = divide_or(2 * found_BK, either_BK, otherwise=0.0)
    seen_B = (either_BK > 0).sum(axis=1).astype(np.float64)
    return divide_or(f1_BK.sum(axis=1), seen_B, otherwise=1.0)


def compute_tag_micro_f1(sums_BF: Floats) -> Floats:
    """F1 of all labels together; 1 where none occurs."""
    found_BK, either_BK = np.split(sums_BF, 2, axis=1)
    return divide_or(2 * found_BK.sum(axis=1), either_BK.sum(axis=1), otherwise=1.0)


tag_macro_f1 = AdditiveMetric(mark_tags, compute_tag_macro_f1)
tag_micro_f1 = AdditiveMetric(mark_tags, compute_tag_micro_f1)
tag_exact_match = AdditiveMetric(
    lambda tags: stack_columns(
        (tags.target_RK == tags.prediction_RK).all(axis=1), np.ones(len(tags))
    ),
    compute_ratio,
)
"""Share of rows whose labels are all right, and no others."""

hamming_loss = AdditiveMetric(
    lambda tags: stack_columns(
        (tags.target_RK != tags.prediction_RK).mean(axis=1), np.ones(len(tags))
    ),
    compute_ratio,
)
"""Share of wrong decisions over rows and labels."""


def score_labels(tags: TagPredictions, labels: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each label, with the rows that have it."""
    found_K = (tags.target_RK & tags.prediction_RK).sum(axis=0)
    true_K, said_K = tags.target_RK.sum(axis=0), tags.prediction_RK.sum(axis=0)

    def share(part: int, whole: int) -> float:
        return part / whole if whole else 0.0

    return [
        {
            "label": str(label),
            "rows": int(true_K[place]),
            "precision": share(int(found_K[place]), int(said_K[place])),
            "recall": share(int(found_K[place]), int(true_K[place])),
            "f1": share(2 * int(found_K[place]), int(said_K[place] + true_K[place])),
        }
        for place, label in enumerate(labels)
    ]
