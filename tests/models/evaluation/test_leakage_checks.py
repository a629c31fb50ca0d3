"""Leakage checks: they fail on a planted leak, and pass on clean data."""

import numpy as np
import pytest

from models.evaluation.baselines.features import SplitRows
from models.evaluation.leakage_checks import (
    check_future_columns,
    check_repeated_rows,
    check_shuffled_targets,
    check_single_columns,
    fit_ridge,
)
from models.features.splitting.sequence_hash import hash_sequences
from models.features.static_covariates import StaticCovariates


def make_windows(leak: bool, seed: int, rows: int = 900) -> tuple[SplitRows, SplitRows]:
    """Windows of a noisy series and of another column, which may have its future values."""
    rng = np.random.default_rng(seed)
    season = np.sin(np.arange(rows) / 9)
    series = season + rng.normal(0, 0.3, rows)
    other = (
        np.roll(series, -1) + 0.01 * rng.normal(size=rows)
        if leak
        else (0.5 * series + rng.normal(0, 0.3, rows))
    )
    values = np.stack([series, other], axis=1).astype(np.float32)
    stops = np.arange(8, rows - 1)
    windows = SplitRows(values, stops - 8, stops, series[stops], np.empty((len(stops), 0)))
    return windows.select(np.arange(600)), windows.select(np.arange(610, len(stops)))


def make_sequences(rows: int, seed: int, classes: int = 3) -> SplitRows:
    """Sequences of a predictable class, with correlated neighbours."""
    rng = np.random.default_rng(seed)
    label = np.repeat(rng.integers(0, classes, rows // 4), 4)
    level = np.repeat(rng.normal(0, 1, rows // 4), 4)
    values = (label + level)[:, None] + rng.normal(0, 0.5, (len(label), 5))
    stops = np.arange(1, len(label) + 1) * 5
    return SplitRows(
        values.reshape(-1, 1).astype(np.float32),
        stops - 5,
        stops,
        label,
        np.empty((len(label), 0)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_column_with_future_values_fails(seed: int) -> None:
    clean = check_future_columns(*make_windows(leak=False, seed=seed), channels=[1])
    found = check_future_columns(*make_windows(leak=True, seed=seed), channels=[1])

    assert clean.status == "passed"
    assert found.status == "failed"
    assert found.value > 3
    assert "one step older" in found.message


def test_without_another_column_the_check_for_future_values_passes() -> None:
    assert check_future_columns(*make_windows(leak=True, seed=0), channels=[]).status == "passed"


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_shuffled_targets_score_by_chance_on_clean_data(classes: int) -> None:
    checks = [
        check_shuffled_targets(
            make_sequences(400, seed, classes),
            make_sequences(200, seed + 100, classes),
            num_classes=classes,
        )
        for seed in range(6)
    ]

    assert [each.status for each in checks] == ["passed"] * 6


@pytest.mark.parametrize("classes", [0, 3])
def test_shuffled_targets_with_skill_fail(classes: int) -> None:
    training, test = make_sequences(400, 0), make_sequences(200, 1)
    targets = np.eye(3)[test.target_S] if classes else test.target_S[:, None].astype(float)

    def fit_with_leak(training_SF, targets_SA, test_SF):
        return fit_ridge(training_SF, targets_SA, test_SF) + 0.2 * np.tile(targets, 20)

    assert check_shuffled_targets(training, test, num_classes=classes).status == "passed"
    assert (
        check_shuffled_targets(training, test, num_classes=classes, learner=fit_with_leak).status
        == "failed"
    )


def test_a_column_that_encodes_the_target_fails() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 4, 600)
    honest = label[:, None] + rng.normal(0, 1, (600, 2))
    encoded = np.array([7.0, -3.0, 0.5, 12.0])[label][:, None]

    def check(other):
        halves = [{"size": x[0], "code": x[1]} for x in ((honest[:400], other[:400]),)]
        halves.append({"size": honest[400:], "code": other[400:]})
        return check_single_columns(*halves, (label[:400], label[400:]), num_classes=4)

    clean, found = check(honest[:, :1]), check(encoded)

    assert clean.status == "passed"
    assert found.status == "failed"
    assert "'code' alone" in found.message


def test_a_copy_of_a_number_gives_a_warning_and_a_correlated_column_does_not() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal(size=3000)
    columns = {
        "same": target[:, None] * 2 + 1,
        "related": (target + rng.normal(0, 0.4, 3000))[:, None],
    }
    halves = [{n: c[part] for n, c in columns.items()} for part in (slice(2000), slice(2000, None))]
    targets = (target[:2000], target[2000:])

    found = check_single_columns(*halves, targets, num_classes=0)
    clean = check_single_columns(
        *({"related": half["related"], "too": half["related"]} for half in halves),
        targets,
        num_classes=0,
    )

    assert found.status != "passed"
    assert "'same'" in found.message
    assert clean.status == "passed"


def test_a_single_column_passes() -> None:
    label = np.arange(40) % 2
    columns = {"only": label[:, None].astype(float)}

    assert check_single_columns(columns, columns, (label, label), num_classes=2).status == "passed"


def test_sequences_in_training_and_test_fail() -> None:
    rows = make_sequences(200, 0)
    covariates = StaticCovariates(np.zeros((200, 1), np.int32), np.zeros((200, 0), np.float32))
    hashes = hash_sequences(rows.values_NC, rows.starts_S, rows.stops_S, covariates)
    other = covariates._replace(codes_RK=np.ones((200, 1), np.int32))
    others = hash_sequences(rows.values_NC, rows.starts_S, rows.stops_S, other)

    assert len(set(hashes.tolist())) == 200
    assert check_repeated_rows(hashes[:150], hashes[150:]).status == "passed"
    assert check_repeated_rows(hashes[:150], hashes[147:]).status == "warning"
    assert check_repeated_rows(hashes[:150], hashes[100:]).status == "failed"
    assert check_repeated_rows(hashes, others).value == 0.0
