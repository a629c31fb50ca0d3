"""Checks for scores that are too good to be true, each with its thresholds and its message.

A check looks at sequences and targets alone, never at the network: what it finds is a fault of the
data or of its split, and affects every model that is scored on them.
Shapes: S sequences, C channels, P permutations, K classes, F features, B resamples.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluation.baselines.features import (
    SplitRows,
    build_scaler,
    compute_features,
    find_max_length,
)
from models.evaluation.statistics.block_length import choose_block_length, estimate_block_length
from models.evaluation.statistics.bootstrap import draw_blocks

CheckStatus = Literal["passed", "warning", "failed"]

MAX_ROWS = 5_000
"""Largest number of rows of each split that a check reads."""

_REPEATED_LIMITS = (0.01, 0.10)
"""Shares of test sequences that are also in the training rows: of a warning and of a failure."""

_SINGLE_COLUMN_LIMITS = (0.97, 0.995)
"""Shares of the target's variation that one column alone explains."""

_SHUFFLED_LIMITS = (3.6, 5.0)
"""Standard errors by which a model of shuffled targets is better than chance."""

_MIN_SKILL = 0.01
"""Smallest skill above chance that counts at all."""

_PERMUTATIONS = 20
"""Shuffles of the targets."""

_FUTURE_LIMITS = (2.0, 3.0)
"""Ratios of the errors with other columns one step older and as they are."""

_BOOTSTRAP_SAMPLES = 300
"""Resamples for the lower bound of that ratio."""

_MAX_STEPS = 32
"""Last steps of a window that the check for future values reads."""


class LeakageCheck(NamedTuple):
    """The result of one check."""

    name: str
    status: CheckStatus
    message: str
    value: float | None
    threshold: float
    """Value from which on the check fails."""


def check_repeated_rows(training_S: NDArray[np.uint64], test_S: NDArray[np.uint64]) -> LeakageCheck:
    """Compute the share of test sequences that are also in the training rows, by hashes."""
    share = float(np.isin(test_S, training_S).mean())
    message = (
        f"{share:.1%} of the test sequences are also in the training rows, as the network reads "
        f"them (warning from {_REPEATED_LIMITS[0]:.0%}, failure from {_REPEATED_LIMITS[1]:.0%})"
    )
    return LeakageCheck(
        "duplicates", _grade_value(share, _REPEATED_LIMITS), message, share, _REPEATED_LIMITS[1]
    )


def check_single_columns(
    training: Mapping[str, NDArray[np.float64]],
    test: Mapping[str, NDArray[np.float64]],
    targets: tuple[NDArray[Any], NDArray[Any]],
    *,
    num_classes: int,
) -> LeakageCheck:
    """Fit a small tree on each column alone, and measure how much of the target it explains.

    Args:
        training: features of each column, [S, F], by its name.
        test: the same of the test rows.
        targets: of the training and of the test rows, [S] each.
        num_classes: number of classes; 0 for numbers.
    """
    shares = {
        name: _measure_explained_share(training[name], test[name], targets, num_classes=num_classes)
        for name in training
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    if best is None or len(shares) < 2:
        message = "there are fewer than two columns to compare"
        return LeakageCheck("one column", "passed", message, None, _SINGLE_COLUMN_LIMITS[1])
    message = (
        f"column '{best}' alone explains {shares[best]:.1%} of the target "
        f"(warning from {_SINGLE_COLUMN_LIMITS[0]:.1%}, failure from "
        f"{_SINGLE_COLUMN_LIMITS[1]:.1%}): is it known before the target is?"
    )
    return LeakageCheck(
        "one column",
        _grade_value(shares[best], _SINGLE_COLUMN_LIMITS),
        message,
        shares[best],
        _SINGLE_COLUMN_LIMITS[1],
    )


Learner = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], Any]
"""From training features, training targets and test features to test predictions."""


def fit_ridge(
    training_SF: NDArray[np.float64], targets_SA: NDArray[np.float64], test_SF: NDArray[np.float64]
) -> Any:  # noqa: ANN401 - an array
    """Fit ridge regressions of several targets at once; return their predictions, [S, A]."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=10.0).fit(training_SF, targets_SA).predict(test_SF)


def check_shuffled_targets(
    training: SplitRows, test: SplitRows, *, num_classes: int, learner: Learner = fit_ridge
) -> LeakageCheck:
    """Fit shuffled targets: test skill above chance means that test rows leak into training.

    The mean skill over the permutations is compared with its own standard error, so that rows that
    resemble their neighbours do not fail it.
    """
    steps, generator = find_max_length(training), np.random.default_rng(0)
    scale = build_scaler(training).fit(features := compute_features(training, flat_steps=steps))
    training_SF, test_SF = (
        scale.transform(features),
        scale.transform(compute_features(test, flat_steps=steps)),
    )
    target_S = np.asarray(training.target_S, np.float64)
    targets_SK = (
        np.eye(num_classes)[target_S.astype(np.int64)] if num_classes else target_S[:, None]
    )
    shuffled = [targets_SK[generator.permutation(len(target_S))] for _ in range(_PERMUTATIONS)]
    predicted = np.asarray(learner(training_SF, np.concatenate(shuffled, axis=1), test_SF))
    parts = np.split(predicted.reshape(len(test.target_S), -1), _PERMUTATIONS, axis=1)
    skill_P = np.array([_measure_skill(part, test.target_S, num_classes) for part in parts])
    error = float(skill_P.std(ddof=1)) / np.sqrt(_PERMUTATIONS)
    value = float(skill_P.mean() / max(error, 1e-6)) if skill_P.mean() > _MIN_SKILL else 0.0
    message = (
        f"a regression on shuffled targets scores {skill_P.mean():+.3f} above chance, "
        f"{value:.1f} standard errors of {_PERMUTATIONS} permutations "
        f"(warning from {_SHUFFLED_LIMITS[0]}, failure from {_SHUFFLED_LIMITS[1]})"
    )
    return LeakageCheck(
        "shuffled labels",
        _grade_value(value, _SHUFFLED_LIMITS),
        message,
        value,
        _SHUFFLED_LIMITS[1],
    )


def check_future_columns(
    training: SplitRows, test: SplitRows, *, channels: list[int]
) -> LeakageCheck:
    """Shift some columns one step back: an error that grows threefold shows future values.

    Args:
        training: windows with one number each as target.
        test: the same of the test rows.
        channels: indices of the columns that are not known ahead, except the target's own past.
    """
    name, limit = "future shift", _FUTURE_LIMITS[1]
    if not channels:
        message = "there is no column besides the target's own past that could hold future values"
        return LeakageCheck(name, "passed", message, None, limit)
    error_S, shifted_error_S = (
        _compute_window_errors(training, test, channels=channels, age=age) for age in (0, 1)
    )
    growth = float(shifted_error_S.mean() / max(error_S.mean(), 1e-12))
    block = max(
        choose_block_length(len(error_S), by_time=True),
        estimate_block_length(shifted_error_S - error_S),
    )
    draws = draw_blocks(len(error_S), count=_BOOTSTRAP_SAMPLES, block=block, seed=0)
    ratios = [shifted_error_S[rows].mean() / max(error_S[rows].mean(), 1e-12) for rows in draws]
    lower_bound = float(np.quantile(ratios, 0.05))
    message = (
        f"with the other columns one step older the error of a regression is {growth:.2f} times as "
        f"large, at least {lower_bound:.2f} times with 95 % confidence (warning from "
        f"{_FUTURE_LIMITS[0]:g}, failure from {limit:g}): a column seems to hold future values"
    )
    return LeakageCheck(
        name, _grade_value(lower_bound, _FUTURE_LIMITS), message, lower_bound, limit
    )


def _grade_value(value: float, limits: tuple[float, float]) -> CheckStatus:
    """Compare a value with the limits of a warning and of a failure."""
    return "failed" if value >= limits[1] else "warning" if value >= limits[0] else "passed"


def _measure_explained_share(
    training_SF: NDArray[np.float64],
    test_SF: NDArray[np.float64],
    targets: tuple[NDArray[Any], NDArray[Any]],
    *,
    num_classes: int,
) -> float:
    """Return the share of a constant's error that a small tree removes, at most 1."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    training_S, test_S = targets
    if not num_classes:
        regressor = DecisionTreeRegressor(max_depth=6, min_samples_leaf=5, random_state=0)
        predicted = regressor.fit(training_SF, training_S).predict(test_SF)
        total = float(np.square(test_S - training_S.mean()).sum())
        return 1 - float(np.square(test_S - predicted).sum()) / total if total > 0 else 0.0
    max_leaves = max(8, 2 * num_classes)
    tree = DecisionTreeClassifier(max_leaf_nodes=max_leaves, min_samples_leaf=2, random_state=0)
    accuracy = float((tree.fit(training_SF, training_S).predict(test_SF) == test_S).mean())
    constant = float((test_S == np.bincount(training_S.astype(np.int64)).argmax()).mean())
    return (accuracy - constant) / (1 - constant) if constant < 1 else 0.0


def _measure_skill(
    predicted_SK: NDArray[np.float64], target_S: NDArray[Any], num_classes: int
) -> float:
    """Return the accuracy above chance agreement, or for numbers the correlation."""
    if not num_classes:
        if predicted_SK.std() == 0 or np.std(target_S) == 0:
            return 0.0
        return float(np.corrcoef(predicted_SK[:, 0], target_S)[0, 1])
    best_S, code_S = predicted_SK.argmax(axis=1), np.asarray(target_S).astype(np.int64)
    shares = [
        np.bincount(each[each >= 0], minlength=num_classes) / len(code_S)
        for each in (best_S, code_S)
    ]
    return float((best_S == code_S).mean() - (shares[0] * shares[1]).sum())


def _compute_window_errors(
    training: SplitRows, test: SplitRows, *, channels: list[int], age: int
) -> NDArray[np.float64]:
    """Return the absolute errors of a regression whose channels are `age` steps older, [S]."""
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    steps = min(find_max_length(training), _MAX_STEPS)
    first, second = (
        _build_shifted_windows(rows, steps, channels=channels, age=age) for rows in (training, test)
    )
    scale = StandardScaler().fit(first)
    # A column with the future may be one of many correlated ones, so the penalty is chosen.
    model = RidgeCV(alphas=np.logspace(-4, 3, 8)).fit(scale.transform(first), training.target_S)
    prediction_S = model.predict(scale.transform(second))
    return np.asarray(np.abs(np.asarray(test.target_S, np.float64) - prediction_S))


def _build_shifted_windows(
    rows: SplitRows, steps: int, *, channels: list[int], age: int
) -> NDArray[np.float64]:
    """Lay the steps of windows side by side, with some channels `age` steps older.

    The first step is repeated where there is no older one.
    """
    index = rows.stops_S[:, None] - steps + np.arange(steps)
    index = np.maximum(index, rows.starts_S[:, None])
    older = np.maximum(index - age, rows.starts_S[:, None])
    values = np.array(rows.values_NC[index], np.float64)
    values[:, :, channels] = rows.values_NC[older][:, :, channels]
    flat = values.reshape(len(index), -1)
    return np.concatenate([flat, rows.static_features_SF], axis=1)
