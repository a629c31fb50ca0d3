"""Canaries: they ring on a leak that was planted, and are quiet on clean data."""

import numpy as np
import pytest

from models.evaluation.baselines.single import SplitRows
from models.evaluation.leakage_checks import (
    check_future_columns,
    check_repeated_rows,
    check_shuffled_targets,
    check_single_columns,
    fit_ridge,
)
from models.features.splitting.sequence_hash import sequence_hashes
from models.features.static_covariates import StaticCovariates

NONE = np.empty((0, 0))


def windows(leak: bool, seed: int, rows: int = 900) -> tuple[SplitRows, SplitRows]:
    """Windows of a wandering series and of another column, which may hold its future."""
    draw = np.random.default_rng(seed)
    season = np.sin(np.arange(rows) / 9)
    series = season + draw.normal(0, 0.3, rows)
    other = (
        np.roll(series, -1) + 0.01 * draw.normal(size=rows)
        if leak
        else (0.5 * series + draw.normal(0, 0.3, rows))
    )
    values = np.stack([series, other], axis=1).astype(np.float32)
    stops = np.arange(8, rows - 1)
    made = SplitRows(values, stops - 8, stops, series[stops], np.empty((len(stops), 0)))
    return made.select(np.arange(600)), made.select(np.arange(610, len(stops)))


def cloud(rows: int, seed: int, classes: int = 3) -> SplitRows:
    """Sequences of a class that one can guess, of neighbours that are alike."""
    draw = np.random.default_rng(seed)
    label = np.repeat(draw.integers(0, classes, rows // 4), 4)
    level = np.repeat(draw.normal(0, 1, rows // 4), 4)
    values = (label + level)[:, None] + draw.normal(0, 0.5, (len(label), 5))
    stops = np.arange(1, len(label) + 1) * 5
    return SplitRows(
        values.reshape(-1, 1).astype(np.float32),
        stops - 5,
        stops,
        label,
        np.empty((len(label), 0)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_column_that_holds_the_future_rings(seed: int) -> None:
    clean = check_future_columns(*windows(leak=False, seed=seed), channels=[1])
    found = check_future_columns(*windows(leak=True, seed=seed), channels=[1])

    assert clean.status == "passed"
    assert found.status == "alarm"
    assert found.value > 3
    assert "one step older" in found.message


def test_without_another_column_there_is_no_future_to_hold() -> None:
    assert check_future_columns(*windows(leak=True, seed=0), channels=[]).status == "passed"


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_shuffled_answers_score_by_chance_on_clean_data(classes: int) -> None:
    rings = [
        check_shuffled_targets(
            cloud(400, seed, classes), cloud(200, seed + 100, classes), classes=classes
        )
        for seed in range(6)
    ]

    assert [each.status for each in rings] == ["passed"] * 6


@pytest.mark.parametrize("classes", [0, 3])
def test_shuffled_answers_that_score_ring(classes: int) -> None:
    training, test = cloud(400, 0), cloud(200, 1)
    truth = np.eye(3)[test.target_S] if classes else test.target_S[:, None].astype(float)

    def peeking(known, answers, asked):
        return fit_ridge(known, answers, asked) + 0.2 * np.tile(truth, 20)

    assert check_shuffled_targets(training, test, classes=classes).status == "passed"
    assert (
        check_shuffled_targets(training, test, classes=classes, learner=peeking).status == "alarm"
    )


def test_a_column_that_is_the_answer_in_disguise_rings() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 4, 600)
    honest = label[:, None] + draw.normal(0, 1, (600, 2))
    disguised = np.array([7.0, -3.0, 0.5, 12.0])[label][:, None]

    def ask(other):
        halves = [{"size": x[0], "code": x[1]} for x in ((honest[:400], other[:400]),)]
        halves.append({"size": honest[400:], "code": other[400:]})
        return check_single_columns(*halves, (label[:400], label[400:]), classes=4)

    clean, found = ask(honest[:, :1]), ask(disguised)

    assert clean.status == "passed"
    assert found.status == "alarm"
    assert "'code' alone" in found.message


def test_a_number_that_a_column_repeats_rings_and_a_related_one_does_not() -> None:
    draw = np.random.default_rng(0)
    answer = draw.normal(size=3000)
    columns = {
        "same": answer[:, None] * 2 + 1,
        "related": (answer + draw.normal(0, 0.4, 3000))[:, None],
    }
    halves = [{n: c[part] for n, c in columns.items()} for part in (slice(2000), slice(2000, None))]
    answers = (answer[:2000], answer[2000:])

    found = check_single_columns(*halves, answers, classes=0)
    clean = check_single_columns(
        *({"related": half["related"], "too": half["related"]} for half in halves),
        answers,
        classes=0,
    )

    assert found.status != "passed"
    assert "'same'" in found.message
    assert clean.status == "passed"


def test_one_column_alone_is_no_leak() -> None:
    label = np.arange(40) % 2
    told = {"only": label[:, None].astype(float)}

    assert check_single_columns(told, told, (label, label), classes=2).status == "passed"


def test_sequences_that_stand_on_both_sides_ring() -> None:
    rows = cloud(200, 0)
    beside = StaticCovariates(np.zeros((200, 1), np.int32), np.zeros((200, 0), np.float32))
    hashes = sequence_hashes(rows.values_NC, rows.starts_S, rows.stops_S, beside)
    other = beside._replace(codes_RK=np.ones((200, 1), np.int32))
    apart = sequence_hashes(rows.values_NC, rows.starts_S, rows.stops_S, other)

    assert len(set(hashes.tolist())) == 200
    assert check_repeated_rows(hashes[:150], hashes[150:]).status == "passed"
    assert check_repeated_rows(hashes[:150], hashes[147:]).status == "warning"
    assert check_repeated_rows(hashes[:150], hashes[100:]).status == "alarm"
    assert check_repeated_rows(hashes, apart).value == 0.0
