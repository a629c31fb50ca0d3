"""Checks that ring where a score is too good to be true, each with its threshold and its words.

A canary looks at sequences and targets alone, never at the network: what it finds is a fault of the
data or of its division, and every model that is scored on them shares it.
Shapes: S sequences, C channels, P permutations, K classes, F features, B resamples.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.single import (
    SplitRows,
    build_scaler,
    compute_features,
    find_max_length,
)
from models.evaluation.statistics.block_length import choose_block_length, estimate_block_length
from models.evaluation.statistics.bootstrap import draw_blocks

CheckStatus = Literal["passed", "warning", "alarm"]

MAX_ROWS = 5_000
"""Rows that a canary learns from, and as many that it is asked."""

REPEATED_LIMITS = (0.01, 0.10)
"""Shares of test sequences that also stand in training: of a warning and of an alarm."""

SINGLE_COLUMN_LIMITS = (0.97, 0.995)
"""Shares of the answer that one column alone may tell."""

SHUFFLED_LIMITS = (3.6, 5.0)
"""How many standard errors shuffled targets may score above chance."""

MIN_SKILL = 0.01
"""And by how much at least."""

PERMUTATIONS = 20

FUTURE_LIMITS = (2.0, 3.0)
"""How many times larger an error may be where other columns are one step older."""

BOOTSTRAP_SAMPLES = 300

MAX_STEPS = 32
"""Steps before an answer among which one looks for its future."""


class LeakageCheck(NamedTuple):
    """What one check found."""

    name: str
    status: CheckStatus
    message: str
    value: float | None
    threshold: float
    """From which on it is an alarm."""


def grade_value(value: float, limits: tuple[float, float]) -> CheckStatus:
    """Compare with the limits of a warning and of an alarm."""
    return "alarm" if value >= limits[1] else "warning" if value >= limits[0] else "passed"


def check_repeated_rows(training_S: NDArray[np.uint64], test_S: NDArray[np.uint64]) -> LeakageCheck:
    """Count the test sequences that also stand in training, by their hashes."""
    share = float(np.isin(test_S, training_S).mean())
    words = (
        f"{share:.1%} of the test sequences also stand in training, as the network reads them "
        f"(warning from {REPEATED_LIMITS[0]:.0%}, alarm from {REPEATED_LIMITS[1]:.0%})"
    )
    return LeakageCheck(
        "duplicates", grade_value(share, REPEATED_LIMITS), words, share, REPEATED_LIMITS[1]
    )


def check_single_columns(
    training: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    targets: tuple[NDArray[Any], NDArray[Any]],
    *,
    classes: int,
) -> LeakageCheck:
    """Fit a small tree on each column alone, and score how much of the target it explains in test.

    Args:
        training: features of each column, [S, F], by its name.
        test: the same of the test rows.
        targets: of the training and of the test rows, [S] each.
        classes: number of classes; 0 for numbers.
    """
    shares = {
        name: measure_explained_share(training[name], test[name], targets, classes=classes)
        for name in training
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    if best is None or len(shares) < 2:
        words = "there are fewer than two columns to compare"
        return LeakageCheck("one column", "passed", words, None, SINGLE_COLUMN_LIMITS[1])
    words = (
        f"column '{best}' alone explains {shares[best]:.1%} of the target "
        f"(warning from {SINGLE_COLUMN_LIMITS[0]:.1%}, alarm from {SINGLE_COLUMN_LIMITS[1]:.1%}): "
        "is it known before the target is?"
    )
    return LeakageCheck(
        "one column",
        grade_value(shares[best], SINGLE_COLUMN_LIMITS),
        words,
        shares[best],
        SINGLE_COLUMN_LIMITS[1],
    )


def measure_explained_share(
    training_SF: NDArray[np.float64],
    test_SF: NDArray[np.float64],
    targets: tuple[NDArray[Any], NDArray[Any]],
    *,
    classes: int,
) -> float:
    """Return the share of a constant's error that a small tree removes, at most 1."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    training_S, test_S = targets
    if not classes:
        fitted = DecisionTreeRegressor(max_depth=6, min_samples_leaf=5, random_state=0)
        predicted = fitted.fit(training_SF, training_S).predict(test_SF)
        spread = float(np.square(test_S - training_S.mean()).sum())
        return 1 - float(np.square(test_S - predicted).sum()) / spread if spread > 0 else 0.0
    leaves = max(8, 2 * classes)
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0)
    right = float((tree.fit(training_SF, training_S).predict(test_SF) == test_S).mean())
    constant = float((test_S == np.bincount(training_S.astype(np.int64)).argmax()).mean())
    return (right - constant) / (1 - constant) if constant < 1 else 0.0


Learner = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], Any]
"""From training features, training targets and test features to test predictions."""


def fit_ridge(
    training_SF: NDArray[np.float64], targets_SA: NDArray[np.float64], test_SF: NDArray[np.float64]
) -> Any:  # noqa: ANN401 - an array
    """Fit ridge regressions on many targets at once; return their predictions, [S, A]."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=10.0).fit(training_SF, targets_SA).predict(test_SF)


def check_shuffled_targets(
    training: SplitRows, test: SplitRows, *, classes: int, learner: Learner = fit_ridge
) -> LeakageCheck:
    """Fit shuffled targets: test skill above chance means that test rows leak into training.

    The mean skill over permutations is compared with its own standard error, so that rows that
    resemble their neighbours do no harm.
    """
    steps, draw = find_max_length(training), np.random.default_rng(0)
    scale = build_scaler(training).fit(seen := compute_features(training, flat_steps=steps))
    training_SF, test_SF = (
        scale.transform(seen),
        scale.transform(compute_features(test, flat_steps=steps)),
    )
    target_S = np.asarray(training.target_S, np.float64)
    shapes_SK = np.eye(classes)[target_S.astype(np.int64)] if classes else target_S[:, None]
    mixed = [shapes_SK[draw.permutation(len(target_S))] for _ in range(PERMUTATIONS)]
    predicted = np.asarray(learner(training_SF, np.concatenate(mixed, axis=1), test_SF))
    parts = np.split(predicted.reshape(len(test.target_S), -1), PERMUTATIONS, axis=1)
    over_P = np.array([measure_skill(part, test.target_S, classes) for part in parts])
    error = float(over_P.std(ddof=1)) / np.sqrt(PERMUTATIONS)
    value = float(over_P.mean() / max(error, 1e-6)) if over_P.mean() > MIN_SKILL else 0.0
    words = (
        f"a regression on shuffled targets scores {over_P.mean():+.3f} above chance, "
        f"{value:.1f} standard errors of {PERMUTATIONS} permutations "
        f"(warning from {SHUFFLED_LIMITS[0]}, alarm from {SHUFFLED_LIMITS[1]})"
    )
    return LeakageCheck(
        "shuffled labels", grade_value(value, SHUFFLED_LIMITS), words, value, SHUFFLED_LIMITS[1]
    )


def measure_skill(predicted_SK: NDArray[np.float64], target_S: NDArray[Any], classes: int) -> float:
    """Return the accuracy above chance agreement, or for numbers the correlation."""
    if not classes:
        if predicted_SK.std() == 0 or np.std(target_S) == 0:
            return 0.0
        return float(np.corrcoef(predicted_SK[:, 0], target_S)[0, 1])
    best_S, truth = predicted_SK.argmax(axis=1), np.asarray(target_S).astype(np.int64)
    shares = [
        np.bincount(each[each >= 0], minlength=classes) / len(truth) for each in (best_S, truth)
    ]
    return float((best_S == truth).mean() - (shares[0] * shares[1]).sum())


def check_future_columns(
    training: SplitRows, test: SplitRows, *, channels: list[int]
) -> LeakageCheck:
    """Shift some columns one step back: an error that then grows threefold used the future.

    Args:
        training: windows with one number each as target.
        test: the same of the test rows.
        channels: of the columns that are not known ahead, without the target's own past.
    """
    name, limit = "future shift", FUTURE_LIMITS[1]
    if not channels:
        words = "there is no column besides the target's own past that could hold the future"
        return LeakageCheck(name, "passed", words, None, limit)
    fresh_S, old_S = (
        compute_window_errors(training, test, channels=channels, age=age) for age in (0, 1)
    )
    growth = float(old_S.mean() / max(fresh_S.mean(), 1e-12))
    block = max(
        choose_block_length(len(fresh_S), by_time=True), estimate_block_length(old_S - fresh_S)
    )
    draws = draw_blocks(len(fresh_S), count=BOOTSTRAP_SAMPLES, block=block, seed=0)
    drawn = [old_S[rows].mean() / max(fresh_S[rows].mean(), 1e-12) for rows in draws]
    sure = float(np.quantile(drawn, 0.05))
    words = (
        f"with the other columns one step older a regression errs {growth:.2f} times as much, "
        f"{sure:.2f} times at least (warning from {FUTURE_LIMITS[0]:g}, alarm from {limit:g}): "
        "a column "
        "that holds the future would do that"
    )
    return LeakageCheck(name, grade_value(sure, FUTURE_LIMITS), words, sure, limit)


def compute_window_errors(
    training: SplitRows, test: SplitRows, *, channels: list[int], age: int
) -> NDArray[np.float64]:
    """Return the absolute errors of a regression whose channels are so many steps older, [S]."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    steps = min(find_max_length(training), MAX_STEPS)
    first, second = (
        build_shifted_windows(rows, steps, channels=channels, age=age) for rows in (training, test)
    )
    scale = StandardScaler().fit(first)
    # What holds the future is one of many columns that are alike, so the penalty is chosen.
    model = RidgeCV(alphas=np.logspace(-4, 3, 8)).fit(scale.transform(first), training.target_S)
    said_S = model.predict(scale.transform(second))
    return np.asarray(np.abs(np.asarray(test.target_S, np.float64) - said_S))


def build_shifted_windows(
    rows: SplitRows, steps: int, *, channels: list[int], age: int
) -> NDArray[np.float64]:
    """Lay the steps of windows side by side, some channels older; the first step stays."""
    index = rows.stops_S[:, None] - steps + np.arange(steps)
    index = np.maximum(index, rows.starts_S[:, None])
    older = np.maximum(index - age, rows.starts_S[:, None])
    values = np.array(rows.values_NC[index], np.float64)
    values[:, :, channels] = rows.values_NC[older][:, :, channels]
    flat = values.reshape(len(index), -1)
    return np.concatenate([flat, rows.static_features_SF], axis=1)
