"""The champion is asked now, on rows that it never learned from, or it is said why it cannot."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.evaluation.predictions import Predictions
from models.features.config import TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.features.splitting.training_rows import FILE
from tasks.dataset.labels import load_test_rows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.gate.champion import EvaluationSet, predict_with_champion
from tasks.gate.comparison import GateConfig
from tasks.gate.decide import EvaluationContext, decide
from tasks.prediction.test_predictions import pair_with_targets, predict_test_rows
from tasks.records import Champion
from tasks.storage.store import Store
from tests.support.input_tables import table, waves, whole
from tests.support.trained_models import TOLD, features, rows_of, trained

LABEL = TargetConfig(column="label", kind="category")

LAYOUT = whole(SeriesInput(column="x"))

CHAMPION = Champion(
    name="waves", version="3", model_key="", report_key="", accepted_key="", source_uri=""
)

BY_HASH = SplitConfig(test=0.4)


def learned(folder: Path, split: SplitConfig = TOLD) -> tuple[RowSet, Path]:
    """A model, and where its bundle lies."""
    rows = features(folder, table(waves), LAYOUT, LABEL, split)
    trained(folder)
    return rows, folder / "model" / "bundle"


def question(rows: RowSet, folder: Path) -> EvaluationSet:
    featurizer = load_featurizer(folder)
    return EvaluationSet(rows, load_test_rows(rows, folder, featurizer), featurizer, np.empty(0))


def test_a_champion_of_the_same_split_learned_from_no_row_of_the_test(tmp_path) -> None:
    rows, bundle_dir = learned(tmp_path / "f")
    asked = question(rows, tmp_path / "f")

    found = predict_with_champion(CHAMPION, bundle_dir, asked)

    assert found.incomparable is None
    assert len(found.unseen_F) == len(found.predictions) == len(asked.test.rows_R)


def test_rows_that_the_champion_learned_from_are_left_out_whatever_split_is_asked_for(
    tmp_path,
) -> None:
    rows, bundle_dir = learned(tmp_path / "then")
    features(tmp_path / "now", table(waves), LAYOUT, LABEL, BY_HASH)
    asked = question(rows, tmp_path / "now")

    found = predict_with_champion(CHAMPION, bundle_dir, asked)

    then = rows.scan().select("split").collect().to_series().gather(asked.test.target_rows_R)
    np.testing.assert_array_equal(found.unseen_F, np.flatnonzero(then == "test"))
    assert 0 < len(found.unseen_F) < len(asked.test.rows_R)


def test_a_champion_that_carries_no_rows_is_asked_for_its_split(tmp_path) -> None:
    rows, bundle_dir = learned(tmp_path / "f", BY_HASH)
    asked = question(rows, tmp_path / "f")
    (bundle_dir / FILE).unlink()

    found = predict_with_champion(CHAMPION, bundle_dir, asked)

    assert len(found.unseen_F) == len(asked.test.rows_R)


def damaged(bundle_dir: Path) -> None:
    (bundle_dir / FILE).write_bytes(b"nothing")


def gone(bundle_dir: Path) -> None:
    (bundle_dir / "network.safetensors").unlink()


@pytest.mark.parametrize(
    ("harm", "words"), [(damaged, "cannot read today's rows"), (gone, "cannot be loaded")]
)
def test_a_damaged_champion_cannot_be_compared(tmp_path, harm, words: str) -> None:
    rows, bundle_dir = learned(tmp_path / "f")
    harm(bundle_dir)

    found = predict_with_champion(CHAMPION, bundle_dir, question(rows, tmp_path / "f"))

    assert found.predictions is None
    assert words in found.incomparable


def test_a_champion_whose_columns_are_gone_cannot_be_compared(tmp_path) -> None:
    _, bundle_dir = learned(tmp_path / "then")
    renamed = table(waves).rename({"x": "wave"})
    layout, folder = whole(SeriesInput(column="wave")), tmp_path / "now"
    rows = features(folder, renamed, layout, LABEL)

    found = predict_with_champion(CHAMPION, bundle_dir, question(rows, folder))

    assert "cannot read today's rows" in found.incomparable


def test_a_champion_whose_id_column_is_gone_cannot_be_compared(tmp_path) -> None:
    frame = table(waves)
    then = tmp_path / "then"
    features(then, frame, LAYOUT, LABEL, SplitConfig(id="id"))
    trained(then)
    rows = features(tmp_path / "now", frame.drop("id"), LAYOUT, LABEL)

    found = predict_with_champion(
        CHAMPION, then / "model" / "bundle", question(rows, tmp_path / "now")
    )

    assert "cannot read today's rows" in found.incomparable


# --- the whole decision


def ruled(
    asked: EvaluationSet, bundle_dir: Path, folder: Path, store: Store, gate: GateConfig, **more
):
    from models.bundle import load

    test, featurizer = asked.test, asked.featurizer
    candidate_dir = folder / "model"
    said = predict_test_rows(load(candidate_dir / "bundle"), asked.rows, test)
    challenger: Predictions = pair_with_targets(said, test, featurizer, asked.scale_R)
    naive = Baselines(asked.rows, folder, featurizer, season=1).predict(said, test, asked.scale_R)
    outing = EvaluationContext(
        asked.rows, folder, candidate_dir, CHAMPION, bundle_dir, store, key="k", **more
    )
    return decide(challenger, naive, asked, outing, gate=gate)


def test_champion_challenger_and_baseline_are_compared_on_the_same_rows(
    tmp_path, local_store
) -> None:
    rows, bundle_dir = learned(tmp_path / "then")
    now = tmp_path / "now"
    features(now, table(waves), LAYOUT, LABEL, BY_HASH)
    trained(now)
    asked = question(rows, now)
    gate = GateConfig(
        bootstrap_samples=100, min_rows=2, min_slice_rows=2, max_latency_ms=1e6, max_size_mb=1e3
    )

    found = ruled(asked, bundle_dir, now, local_store, gate)

    evidence = found.evidence
    assert evidence.over_champion.rows == evidence.over_baseline.rows == evidence.rows
    assert evidence.excluded_rows == len(asked.test.rows_R) - evidence.rows > 0
    names = {guard.name.partition(" (")[0] for guard in evidence.guardrails}
    classes = {f"drop of class {name}" for name in asked.featurizer.target.classes}
    assert classes <= names
    assert {"increase of the log loss", "latency in ms a row", "size of the model in MB"} <= names


def test_a_champion_that_learned_from_the_whole_test_leaves_the_decision_to_a_person(
    tmp_path, local_store
) -> None:
    turned = table(waves).with_columns(pl.col("split").replace({"test": "train", "train": "test"}))
    then = tmp_path / "then"
    features(then, turned, LAYOUT, LABEL)
    trained(then)
    now = tmp_path / "now"
    features(now, table(waves), LAYOUT, LABEL)
    trained(now)
    rows = rows_of(table(waves), tmp_path / "rows.parquet")

    found = ruled(
        question(rows, now),
        then / "model" / "bundle",
        now,
        local_store,
        GateConfig(bootstrap_samples=100),
    )

    assert found.verdict.decision == "needs-approval"
    assert found.evidence.rows == 0
    assert found.champion_scores is None
