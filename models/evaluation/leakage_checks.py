"""Checks that ring where a score is too good to be true, each with its threshold and its words.

A canary looks at sequences and answers alone, never at the network: what it finds is a fault of the
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

CheckStatus = Literal["quiet", "warning", "alarm"]

MAX_ROWS = 5_000
"""Rows that a canary learns from, and as many that it is asked."""

REPEATED_LIMITS = (0.01, 0.10)
"""Shares of test sequences that also stand in training: of a warning and of an alarm."""

SINGLE_COLUMN_LIMITS = (0.97, 0.995)
"""Shares of the answer that one column alone may tell."""

SHUFFLED_LIMITS = (3.6, 5.0)
"""How many standard errors shuffled answers may score above chance."""

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
    return "alarm" if value >= limits[1] else "warning" if value >= limits[0] else "quiet"


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
    answers: tuple[NDArray[Any], NDArray[Any]],
    *,
    classes: int,
) -> LeakageCheck:
    """Ask a small tree on each column alone how much of the answer it tells on held-out rows.

    Args:
        training: what is read of each column, [S, F], by its name.
        test: the same of the test rows.
        answers: of both.
        classes: 0 for numbers.
    """
    shares = {
        name: measure_explained_share(training[name], test[name], answers, classes=classes)
        for name in training
    }
    best = max(shares, key=lambda name: shares[name], default=None)
    if best is None or len(shares) < 2:
        words = "there are no two columns, of which one could tell too much"
        return LeakageCheck("one column", "quiet", words, None, SINGLE_COLUMN_LIMITS[1])
    words = (
        f"column '{best}' alone tells {shares[best]:.1%} of the answer "
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
    answers: tuple[NDArray[Any], NDArray[Any]],
    *,
    classes: int,
) -> float:
    """Tell how much of what always saying the usual gets wrong a small tree gets right."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    known, asked = answers
    if not classes:
        fitted = DecisionTreeRegressor(max_depth=6, min_samples_leaf=5, random_state=0)
        said = fitted.fit(training_SF, known).predict(test_SF)
        spread = float(np.square(asked - known.mean()).sum())
        return 1 - float(np.square(asked - said).sum()) / spread if spread > 0 else 0.0
    leaves = max(8, 2 * classes)
    tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=2, random_state=0)
    right = float((tree.fit(training_SF, known).predict(test_SF) == asked).mean())
    usual = float((asked == np.bincount(known.astype(np.int64)).argmax()).mean())
    return (right - usual) / (1 - usual) if usual < 1 else 0.0


Learner = Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], Any]
"""From training features, answers and test features to answers."""


def fit_ridge(
    training_SF: NDArray[np.float64], targets_SA: NDArray[np.float64], test_SF: NDArray[np.float64]
) -> Any:  # noqa: ANN401 - an array
    """Fit many answers at once."""
    from sklearn.linear_model import Ridge

    return Ridge(alpha=10.0).fit(training_SF, targets_SA).predict(test_SF)


def check_shuffled_targets(
    training: SplitRows, test: SplitRows, *, classes: int, learner: Learner = fit_ridge
) -> LeakageCheck:
    """Learn shuffled answers: on the test they score no better than chance, or something is wrong.

    Every permutation is one draw, and their mean is compared with its own standard error, so that
    rows that are like their neighbours do no harm.
    """
    steps, draw = find_max_length(training), np.random.default_rng(0)
    scale = build_scaler(training).fit(seen := compute_features(training, flat_steps=steps))
    known_SF, asked_SF = (
        scale.transform(seen),
        scale.transform(compute_features(test, flat_steps=steps)),
    )
    target_S = np.asarray(training.target_S, np.float64)
    shapes_SK = np.eye(classes)[target_S.astype(np.int64)] if classes else target_S[:, None]
    mixed = [shapes_SK[draw.permutation(len(target_S))] for _ in range(PERMUTATIONS)]
    said = np.asarray(learner(known_SF, np.concatenate(mixed, axis=1), asked_SF))
    parts = np.split(said.reshape(len(test.target_S), -1), PERMUTATIONS, axis=1)
    over_P = np.array([measure_skill(part, test.target_S, classes) for part in parts])
    error = float(over_P.std(ddof=1)) / np.sqrt(PERMUTATIONS)
    value = float(over_P.mean() / max(error, 1e-6)) if over_P.mean() > MIN_SKILL else 0.0
    words = (
        f"a regression on shuffled answers scores {over_P.mean():+.3f} above chance, "
        f"{value:.1f} standard errors of {PERMUTATIONS} permutations "
        f"(warning from {SHUFFLED_LIMITS[0]}, alarm from {SHUFFLED_LIMITS[1]})"
    )
    return LeakageCheck(
        "shuffled labels", grade_value(value, SHUFFLED_LIMITS), words, value, SHUFFLED_LIMITS[1]
    )


def measure_skill(said_SK: NDArray[np.float64], target_S: NDArray[Any], classes: int) -> float:
    """Tell the accuracy beyond what two unrelated columns agree; of numbers the correlation."""
    if not classes:
        if said_SK.std() == 0 or np.std(target_S) == 0:
            return 0.0
        return float(np.corrcoef(said_SK[:, 0], target_S)[0, 1])
    best_S, truth = said_SK.argmax(axis=1), np.asarray(target_S).astype(np.int64)
    shares = [
        np.bincount(each[each >= 0], minlength=classes) / len(truth) for each in (best_S, truth)
    ]
    return float((best_S == truth).mean() - (shares[0] * shares[1]).sum())


def check_future_columns(
    training: SplitRows, test: SplitRows, *, channels: list[int]
) -> LeakageCheck:
    """Make some columns one step older: an error that then grows threefold came from the future.

    Args:
        training: windows with one number each as answer.
        test: the same.
        channels: of the columns that are not known ahead, but for the answer's own past.
    """
    name, limit = "future shift", FUTURE_LIMITS[1]
    if not channels:
        words = "there is no column beside the answer's own past that could hold the future"
        return LeakageCheck(name, "quiet", words, None, limit)
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
    """Give the absolute errors of a regression whose channels are so many steps older, [S]."""
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
