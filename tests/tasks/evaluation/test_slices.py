"""What a report looks at beyond the score, from real features and a trained model."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.evaluation.leakage_checks import Canary
from models.features.config import Layout, TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from tasks.dataset.labels import load_test
from tasks.evaluation.leakage_checks import ask_canaries
from tasks.evaluation.slices import EvaluationConfig, Looked, blocking, look_closer, warnings_of
from tasks.gate.comparison import Gain, GateConfig, Rival, headline
from tasks.prediction.test_predictions import answered_by, judged
from tests.support.trained_models import TOLD, features, tides, trained, weekly

GATE = GateConfig(bootstrap_samples=200)
SERIES = Layout(input=SeriesInput(column=("a", "b")), window=None, time=None, entity=None)
LABEL = TargetConfig(column="label", kind="category")
KEPT = SplitConfig(by="column", column="split", duplicates="keep")

RUNG = Canary("duplicates", "alarm", "all of them", 1.0, 0.1)


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


def seen(folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEPT) -> Looked:
    rows = features(folder, frame, layout, target, split)
    bundle = trained(folder, epochs=2)
    test = load_test(rows, folder, bundle.featurizer)
    answered = answered_by(bundle, rows, test)
    return Looked(rows, folder, bundle.featurizer, test, answered, bundle.calibration)


def test_rows_are_looked_at_by_class_column_and_length(tmp_path: Path) -> None:
    looked = seen(tmp_path / "f", pairs())
    answers = judged(looked.answered, looked.test, looked.featurizer, np.empty(0))
    some = np.arange(0, len(answers), 2)
    rival = Rival(
        "champion",
        is_champion=True,
        challenger=answers.pick(some),
        answers=answers.pick(some),
        rows_F=some,
    )
    evaluation = EvaluationConfig(slices=("town",))

    alone = look_closer(looked, answers, None, gate=GATE, evaluation=evaluation)
    compared = look_closer(looked, answers, rival, gate=GATE, evaluation=evaluation)

    assert {each["by"] for each in alone["slices"]} == {"class", "town", "length"}
    for by in ("class", "town", "length"):
        rows = [each["rows"] for each in alone["slices"] if each["by"] == by]
        assert sum(rows) == len(answers)
    assert all(each["champion"] is None for each in alone["slices"])
    assert all(each["champion"] == each["score"] for each in compared["slices"])
    assert sum(each["rows"] for each in compared["slices"] if each["by"] == "town") == len(some)
    assert alone["worst_slice"] in [
        each | {"beyond_doubt": alone["worst_slice"]["beyond_doubt"]} for each in alone["slices"]
    ]


def verdicts(folder: Path, frame: pl.DataFrame, layout=SERIES, target=LABEL, split=KEPT) -> dict:
    rows = features(folder, frame, layout, target, split)
    found = ask_canaries(rows, folder, load_featurizer(folder))
    return {each.name: each.verdict for each in found}


def test_canaries_ring_for_what_was_planted_and_for_nothing_else(tmp_path: Path) -> None:
    clean = verdicts(tmp_path / "clean", pairs())
    copied = verdicts(tmp_path / "copied", pairs(copied=40))
    told = verdicts(tmp_path / "told", pairs(told=True))

    assert clean == {"duplicates": "quiet", "one column": "quiet", "shuffled labels": "quiet"}
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

    assert clean["future shift"] == "quiet"
    assert leaking["future shift"] == "alarm"


def test_kinds_without_one_answer_are_asked_for_duplicates_alone(tmp_path: Path) -> None:
    frame = pairs().select("a", "b", "split")

    found = verdicts(tmp_path / "f", frame, target=TargetConfig(kind="reconstruction"), split=TOLD)

    assert found == {"duplicates": "quiet"}


def test_a_canary_blocks_where_the_job_says_so() -> None:
    block = EvaluationConfig(leakage_checks="block")

    assert blocking([RUNG], EvaluationConfig()) is None
    assert blocking([RUNG._replace(verdict="warning")], block) is None
    assert blocking([RUNG], block) == "the scores are too good to be true: duplicates: all of them"
    assert warnings_of([RUNG, RUNG._replace(verdict="quiet")]) == ["duplicates: all of them"]


@pytest.mark.parametrize(
    ("gain", "low", "flawless", "words"),
    [
        (-0.1, -0.2, False, "does not beat"),
        (0.0, 0.0, False, "does not beat"),
        (0.0, 0.0, True, "right everywhere, and so is"),
        (0.1, -0.1, False, "not beyond doubt"),
        (0.2, 0.1, True, "network beats"),
    ],
)
def test_the_headline_says_whether_the_network_is_worth_it(
    gain: float, low: float, flawless: bool, words: str
) -> None:
    told = Gain("ridge regression", champion=False, rows=90, gain=gain, low=low, high=1.0)

    said = headline(told, metric="mae", own=1.0, rival=2.0, flawless=flawless)

    assert words in said
    assert "ridge regression: mae 1.0000 against 2.0000 on 90 rows" in said


def test_a_column_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        EvaluationConfig(slices=("town", "town"))
