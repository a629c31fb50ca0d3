"""Slices and leakage checks of a report, from features and a trained model."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.evaluation.leakage_checks import LeakageCheck
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from tasks.dataset.labels import load_test_rows
from tasks.evaluation.leakage_checks import run_leakage_checks
from tasks.evaluation.slices import (
    EvaluationConfig,
    EvaluationData,
    find_block_reason,
    list_warnings,
    measure_details,
)
from tasks.gate.comparison import Comparison, GateConfig
from tasks.prediction.test_predictions import pair_with_targets, predict_test_rows
from tests.support.trained_models import (
    BY_COLUMN,
    build_weekly_layout,
    make_weekly_sales,
    train_bundle,
    write_features,
)

GATE = GateConfig(bootstrap_samples=200)
SERIES = Layout(input=SeriesInput(column=("a", "b")), window=None, time=None, entity=None)
LABEL = TargetConfig(column="label", kind="category")
KEEP_DUPLICATES = SplitConfig(by="column", column="split", duplicates="keep")

FAILED_CHECK = LeakageCheck("duplicates", "failed", "all of them", 1.0, 0.1)


def make_two_channels(rows: int = 400, *, copied: int = 0, leak: bool = False) -> pl.DataFrame:
    """Return two noisy channels and a class.

    `copied` rows of training are also in the test; with `leak`, channel b gives the class away.
    """
    draw = np.random.default_rng(3)
    label = draw.integers(0, 3, rows)
    lengths = draw.integers(3, 9, rows)
    a, b = (
        [
            (level + draw.normal(0, 1.5, length)).tolist()
            for level, length in zip(label, lengths, strict=True)
        ]
        for _ in range(2)
    )
    if leak:
        b = [[float(level * 7 % 5)] * length for level, length in zip(label, lengths, strict=True)]
    frame = pl.DataFrame(
        {
            "a": a,
            "b": b,
            "label": [f"c{level}" for level in label],
            "town": draw.choice(["Graz", "Linz"], rows),
            "split": np.where(np.arange(rows) % 3 == 0, "test", "train"),
        }
    )
    copies = frame.filter(pl.col("split") == "train").head(copied)
    return pl.concat([frame, copies.with_columns(split=pl.lit("test"))])


def build_evaluation_data(
    folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEEP_DUPLICATES
) -> EvaluationData:
    rows = write_features(folder, frame, layout, target, split)
    bundle = train_bundle(folder, epochs=2)
    test = load_test_rows(rows, folder, bundle.featurizer)
    predictions = predict_test_rows(bundle, rows, test)
    return EvaluationData(rows, folder, bundle.featurizer, test, predictions, bundle.calibration)


def test_slices_are_by_class_column_and_length(tmp_path: Path) -> None:
    data = build_evaluation_data(tmp_path / "f", make_two_channels())
    predictions = pair_with_targets(data.predictions, data.test, data.featurizer, np.empty(0))
    comparable = np.arange(0, len(predictions), 2)
    comparison = Comparison(
        "champion",
        is_champion=True,
        challenger=predictions.select(comparable),
        reference=predictions.select(comparable),
        rows_F=comparable,
    )
    evaluation = EvaluationConfig(slices=("town",))

    without_champion = measure_details(data, predictions, None, gate=GATE, evaluation=evaluation)
    compared = measure_details(data, predictions, comparison, gate=GATE, evaluation=evaluation)

    assert {each.by for each in without_champion.slices} == {"class", "town", "length"}
    for by in ("class", "town", "length"):
        rows = [each.rows for each in without_champion.slices if each.by == by]
        assert sum(rows) == len(predictions)
    assert all(each.champion is None for each in without_champion.slices)
    assert all(each.champion == each.score for each in compared.slices)
    assert sum(each.rows for each in compared.slices if each.by == "town") == len(comparable)
    worst = without_champion.worst_slice
    assert (worst.by, worst.value) in {(each.by, each.value) for each in without_champion.slices}


def run_checks(
    folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEEP_DUPLICATES
) -> dict:
    rows = write_features(folder, frame, layout, target, split)
    checks = run_leakage_checks(rows, folder, load_featurizer(folder))
    return {each.name: each.status for each in checks}


def test_a_leakage_check_fails_only_for_its_own_leak(tmp_path: Path) -> None:
    clean = run_checks(tmp_path / "clean", make_two_channels())
    copied = run_checks(tmp_path / "copied", make_two_channels(copied=40))
    leaking = run_checks(tmp_path / "leaking", make_two_channels(leak=True))

    assert clean == {"duplicates": "passed", "one column": "passed", "shuffled labels": "passed"}
    assert copied == clean | {"duplicates": "failed"}
    assert leaking == clean | {"one column": "failed"}


@pytest.mark.parametrize("kind", ["forecast", "number"])
def test_the_future_shift_check_fails_for_a_column_with_tomorrows_sales(
    tmp_path: Path, kind: str
) -> None:
    frame = make_weekly_sales().with_columns(
        visits=pl.col("sales") * 0.1 + pl.int_range(pl.len()) % 5
    )
    # The orders of the last day are unknown.
    frame = frame.with_columns(orders=pl.col("sales").shift(-1).over("shop").fill_null(0))
    layouts = [
        build_weekly_layout(SeriesInput(column=("sales", other), scale_per="entity"), horizon=1)
        for other in ("visits", "orders")
    ]
    target = TargetConfig(column="sales", kind=kind)
    split = SplitConfig(by="time", test=0.3, validation=0.1)

    clean = run_checks(tmp_path / "clean", frame, layouts[0], target, split)
    leaking = run_checks(tmp_path / "leaking", frame, layouts[1], target, split)

    assert clean["future shift"] == "passed"
    assert leaking["future shift"] == "failed"


def test_self_supervised_kinds_are_checked_for_duplicates_only(tmp_path: Path) -> None:
    frame = make_two_channels().select("a", "b", "split")

    statuses = run_checks(
        tmp_path / "f", frame, target=TargetConfig(kind="reconstruction"), split=BY_COLUMN
    )

    assert statuses == {"duplicates": "passed"}


def test_a_failed_leakage_check_blocks_promotion_if_the_job_says_so() -> None:
    block = EvaluationConfig(leakage_checks="block")

    assert find_block_reason([FAILED_CHECK], EvaluationConfig()) is None
    assert find_block_reason([FAILED_CHECK._replace(status="warning")], block) is None
    assert (
        find_block_reason([FAILED_CHECK], block) == "a leakage check fails: duplicates: all of them"
    )
    assert list_warnings([FAILED_CHECK, FAILED_CHECK._replace(status="passed")]) == [
        "duplicates: all of them"
    ]


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        EvaluationConfig(slices=("town", "town"))
