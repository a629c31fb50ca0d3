"""What a report looks at beyond the score, from real features and a trained model."""

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
from tasks.gate.comparison import Comparison, Gain, GateConfig, format_headline
from tasks.prediction.test_predictions import pair_with_targets, predict_test_rows
from tests.support.trained_models import TOLD, features, tides, trained, weekly

GATE = GateConfig(bootstrap_samples=200)
SERIES = Layout(input=SeriesInput(column=("a", "b")), window=None, time=None, entity=None)
LABEL = TargetConfig(column="label", kind="category")
KEPT = SplitConfig(by="column", column="split", duplicates="keep")

RUNG = LeakageCheck("duplicates", "alarm", "all of them", 1.0, 0.1)


def pairs(rows: int = 400, *, copied: int = 0, told: bool = False) -> pl.DataFrame:
    """Two channels that say something about a class; rows may be copied or tell it outright."""
    draw = np.random.default_rng(3)
    label = draw.integers(0, 3, rows)
    lengths = draw.integers(3, 9, rows)
    a, b = (
        [
            (place + draw.normal(0, 1.5, length)).tolist()
            for place, length in zip(label, lengths, strict=True)
        ]
        for _ in range(2)
    )
    if told:
        b = [[float(place * 7 % 5)] * length for place, length in zip(label, lengths, strict=True)]
    frame = pl.DataFrame(
        {
            "a": a,
            "b": b,
            "label": [f"c{place}" for place in label],
            "town": draw.choice(["Graz", "Linz"], rows),
            "split": np.where(np.arange(rows) % 3 == 0, "test", "train"),
        }
    )
    again = frame.filter(pl.col("split") == "train").head(copied)
    return pl.concat([frame, again.with_columns(split=pl.lit("test"))])


def seen(
    folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEPT
) -> EvaluationData:
    rows = features(folder, frame, layout, target, split)
    bundle = trained(folder, epochs=2)
    test = load_test_rows(rows, folder, bundle.featurizer)
    answered = predict_test_rows(bundle, rows, test)
    return EvaluationData(rows, folder, bundle.featurizer, test, answered, bundle.calibration)


def test_rows_are_looked_at_by_class_column_and_length(tmp_path: Path) -> None:
    looked = seen(tmp_path / "f", pairs())
    answers = pair_with_targets(looked.predictions, looked.test, looked.featurizer, np.empty(0))
    some = np.arange(0, len(answers), 2)
    rival = Comparison(
        "champion",
        is_champion=True,
        challenger=answers.select(some),
        reference=answers.select(some),
        rows_F=some,
    )
    evaluation = EvaluationConfig(slices=("town",))

    alone = measure_details(looked, answers, None, gate=GATE, evaluation=evaluation)
    compared = measure_details(looked, answers, rival, gate=GATE, evaluation=evaluation)

    assert {each.by for each in alone.slices} == {"class", "town", "length"}
    for by in ("class", "town", "length"):
        rows = [each.rows for each in alone.slices if each.by == by]
        assert sum(rows) == len(answers)
    assert all(each.champion is None for each in alone.slices)
    assert all(each.champion == each.score for each in compared.slices)
    assert sum(each.rows for each in compared.slices if each.by == "town") == len(some)
    worst = alone.worst_slice
    assert (worst.by, worst.value) in {(each.by, each.value) for each in alone.slices}


def verdicts(folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEPT) -> dict:
    rows = features(folder, frame, layout, target, split)
    found = run_leakage_checks(rows, folder, load_featurizer(folder))
    return {each.name: each.status for each in found}


def test_checks_fail_for_the_leak_that_was_planted_and_for_no_other(tmp_path: Path) -> None:
    clean = verdicts(tmp_path / "clean", pairs())
    copied = verdicts(tmp_path / "copied", pairs(copied=40))
    told = verdicts(tmp_path / "told", pairs(told=True))

    assert clean == {"duplicates": "passed", "one column": "passed", "shuffled labels": "passed"}
    assert copied == clean | {"duplicates": "alarm"}
    assert told == clean | {"one column": "alarm"}


@pytest.mark.parametrize("kind", ["forecast", "number"])
def test_a_column_with_tomorrows_sales_rings(tmp_path: Path, kind: str) -> None:
    day = tides().with_columns(visits=pl.col("sales") * 0.1 + pl.int_range(pl.len()) % 5)
    # What is foretold of the last day is not known.
    known = day.with_columns(orders=pl.col("sales").shift(-1).over("shop").fill_null(0))
    layouts = [
        weekly(SeriesInput(column=("sales", other), scale_per="entity"), horizon=1)
        for other in ("visits", "orders")
    ]
    target = TargetConfig(column="sales", kind=kind)
    split = SplitConfig(by="time", test=0.3, validation=0.1)

    clean = verdicts(tmp_path / "clean", known, layouts[0], target, split)
    leaking = verdicts(tmp_path / "leaking", known, layouts[1], target, split)

    assert clean["future shift"] == "passed"
    assert leaking["future shift"] == "alarm"


def test_kinds_without_one_answer_are_asked_for_duplicates_alone(tmp_path: Path) -> None:
    frame = pairs().select("a", "b", "split")

    found = verdicts(tmp_path / "f", frame, target=TargetConfig(kind="reconstruction"), split=TOLD)

    assert found == {"duplicates": "passed"}


def test_a_failed_check_blocks_where_the_job_says_so() -> None:
    block = EvaluationConfig(leakage_checks="block")

    assert find_block_reason([RUNG], EvaluationConfig()) is None
    assert find_block_reason([RUNG._replace(status="warning")], block) is None
    assert find_block_reason([RUNG], block) == "a leakage check fails: duplicates: all of them"
    assert list_warnings([RUNG, RUNG._replace(status="passed")]) == ["duplicates: all of them"]


@pytest.mark.parametrize(
    ("gain", "low", "flawless", "words"),
    [
        (-0.1, -0.2, False, "does not beat"),
        (0.0, 0.0, False, "does not beat"),
        (0.0, 0.0, True, "no error, and neither does"),
        (0.1, -0.1, False, "not significantly"),
        (0.2, 0.1, True, "network beats"),
    ],
)
def test_the_headline_says_whether_the_network_is_worth_it(
    gain: float, low: float, flawless: bool, words: str
) -> None:
    gain_over_baseline = Gain(
        "ridge regression", is_champion=False, rows=90, gain=gain, low=low, high=1.0
    )

    said = format_headline(
        gain_over_baseline, metric="mae", score=1.0, baseline_score=2.0, is_perfect=flawless
    )

    assert words in said
    assert "ridge regression: mae 1.0000 against 2.0000 on 90 rows" in said


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        EvaluationConfig(slices=("town", "town"))
