"""The champion predicts today's test rows outside its training, or the reason why it cannot."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from models.evaluation.predictions import Predictions
from models.features.config import TargetConfig
from models.features.featurizer import load_featurizer
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.features.splitting.training_rows import TRAINING_ROWS_FILE
from tasks.dataset.labels import load_test_rows
from tasks.dataset.rowset import RowSet
from tasks.evaluation.baselines import Baselines
from tasks.gate.champion import EvaluationSet, predict_with_champion
from tasks.gate.comparison import GateConfig
from tasks.gate.decide import EvaluationContext, decide
from tasks.prediction.test_predictions import pair_with_targets, predict_test_rows
from tasks.records import Champion
from tasks.storage.store import Store
from tests.support.input_tables import build_row_layout, build_table, draw_waves
from tests.support.trained_models import BY_COLUMN, train_bundle, write_features, write_rows

LABEL = TargetConfig(column="label", kind="category")

LAYOUT = build_row_layout(SeriesInput(column="x"))

CHAMPION = Champion(
    name="waves", version="3", model_key="", report_key="", accepted_key="", source_uri=""
)

BY_HASH = SplitConfig(test=0.4)


def train_champion(folder: Path, split: SplitConfig = BY_COLUMN) -> tuple[RowSet, Path]:
    """Return the rows of a trained model, and the folder of its bundle."""
    rows = write_features(folder, build_table(draw_waves), LAYOUT, LABEL, split)
    train_bundle(folder)
    return rows, folder / "model" / "bundle"


def build_evaluation_set(rows: RowSet, folder: Path) -> EvaluationSet:
    featurizer = load_featurizer(folder)
    return EvaluationSet(rows, load_test_rows(rows, folder, featurizer), featurizer, np.empty(0))


def test_a_champion_of_the_same_split_predicts_the_whole_test(tmp_path) -> None:
    rows, bundle_dir = train_champion(tmp_path / "f")
    evaluation_set = build_evaluation_set(rows, tmp_path / "f")

    predicted = predict_with_champion(CHAMPION, bundle_dir, evaluation_set)

    assert predicted.incomparable_reason is None
    assert len(predicted.unseen_F) == len(predicted.predictions) == len(evaluation_set.test.rows_R)


def test_training_rows_of_the_champion_are_excluded_whatever_the_split(
    tmp_path,
) -> None:
    rows, bundle_dir = train_champion(tmp_path / "champion")
    write_features(tmp_path / "candidate", build_table(draw_waves), LAYOUT, LABEL, BY_HASH)
    evaluation_set = build_evaluation_set(rows, tmp_path / "candidate")

    predicted = predict_with_champion(CHAMPION, bundle_dir, evaluation_set)

    champion_splits = (
        rows.scan().select("split").collect().to_series().gather(evaluation_set.test.target_rows_R)
    )
    np.testing.assert_array_equal(predicted.unseen_F, np.flatnonzero(champion_splits == "test"))
    assert 0 < len(predicted.unseen_F) < len(evaluation_set.test.rows_R)


def test_a_champion_without_a_record_of_training_rows_is_compared_by_its_split(tmp_path) -> None:
    rows, bundle_dir = train_champion(tmp_path / "f", BY_HASH)
    evaluation_set = build_evaluation_set(rows, tmp_path / "f")
    (bundle_dir / TRAINING_ROWS_FILE).unlink()

    predicted = predict_with_champion(CHAMPION, bundle_dir, evaluation_set)

    assert len(predicted.unseen_F) == len(evaluation_set.test.rows_R)


def damage_record(bundle_dir: Path) -> None:
    (bundle_dir / TRAINING_ROWS_FILE).write_bytes(b"nothing")


def delete_weights(bundle_dir: Path) -> None:
    (bundle_dir / "network.safetensors").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [(damage_record, "cannot read today's rows"), (delete_weights, "cannot be loaded")],
)
def test_a_damaged_champion_cannot_be_compared(tmp_path, damage, message: str) -> None:
    rows, bundle_dir = train_champion(tmp_path / "f")
    damage(bundle_dir)

    predicted = predict_with_champion(
        CHAMPION, bundle_dir, build_evaluation_set(rows, tmp_path / "f")
    )

    assert predicted.predictions is None
    assert message in predicted.incomparable_reason


def test_a_champion_whose_input_column_is_missing_cannot_be_compared(tmp_path) -> None:
    _, bundle_dir = train_champion(tmp_path / "champion")
    renamed = build_table(draw_waves).rename({"x": "wave"})
    layout, folder = build_row_layout(SeriesInput(column="wave")), tmp_path / "candidate"
    rows = write_features(folder, renamed, layout, LABEL)

    predicted = predict_with_champion(CHAMPION, bundle_dir, build_evaluation_set(rows, folder))

    assert "cannot read today's rows" in predicted.incomparable_reason


def test_a_champion_whose_id_column_is_missing_cannot_be_compared(tmp_path) -> None:
    frame = build_table(draw_waves)
    champion_dir = tmp_path / "champion"
    write_features(champion_dir, frame, LAYOUT, LABEL, SplitConfig(id="id"))
    train_bundle(champion_dir)
    rows = write_features(tmp_path / "candidate", frame.drop("id"), LAYOUT, LABEL)

    predicted = predict_with_champion(
        CHAMPION,
        champion_dir / "model" / "bundle",
        build_evaluation_set(rows, tmp_path / "candidate"),
    )

    assert "cannot read today's rows" in predicted.incomparable_reason


# --- the decision


def decide_against_champion(
    evaluation_set: EvaluationSet,
    bundle_dir: Path,
    folder: Path,
    store: Store,
    gate: GateConfig,
    **more,
):
    from models.bundle import load_bundle

    test, featurizer = evaluation_set.test, evaluation_set.featurizer
    candidate_dir = folder / "model"
    prediction_table = predict_test_rows(
        load_bundle(candidate_dir / "bundle"), evaluation_set.rows, test
    )
    challenger: Predictions = pair_with_targets(
        prediction_table, test, featurizer, evaluation_set.scale_R
    )
    baselines = Baselines(evaluation_set.rows, folder, featurizer, season=1).predict(
        prediction_table, test, evaluation_set.scale_R
    )
    context = EvaluationContext(
        evaluation_set.rows, folder, candidate_dir, CHAMPION, bundle_dir, store, key="k", **more
    )
    return decide(challenger, baselines, evaluation_set, context, gate=gate)


def test_champion_challenger_and_baseline_are_compared_on_the_same_rows(
    tmp_path, local_store
) -> None:
    rows, bundle_dir = train_champion(tmp_path / "champion")
    candidate_features = tmp_path / "candidate"
    write_features(candidate_features, build_table(draw_waves), LAYOUT, LABEL, BY_HASH)
    train_bundle(candidate_features)
    evaluation_set = build_evaluation_set(rows, candidate_features)
    gate = GateConfig(
        bootstrap_samples=100, min_rows=2, min_slice_rows=2, max_latency_ms=1e6, max_size_mb=1e3
    )

    result = decide_against_champion(
        evaluation_set, bundle_dir, candidate_features, local_store, gate
    )

    evidence = result.evidence
    assert evidence.over_champion.rows == evidence.over_baseline.rows == evidence.rows
    all_rows = len(evaluation_set.test.rows_R)
    assert evidence.excluded_rows == all_rows - evidence.rows > 0
    assert f"on {evidence.rows} of {all_rows} test rows" in result.verdict.reason
    names = {guard.name.partition(" (")[0] for guard in evidence.guardrails}
    classes = {f"drop of class {name}" for name in evaluation_set.featurizer.target.classes}
    assert classes <= names
    assert {"increase of the log loss", "latency in ms a row", "size of the model in MB"} <= names


def test_a_champion_trained_on_the_whole_test_needs_approval(tmp_path, local_store) -> None:
    swapped = build_table(draw_waves).with_columns(
        pl.col("split").replace({"test": "train", "train": "test"})
    )
    champion_dir = tmp_path / "champion"
    write_features(champion_dir, swapped, LAYOUT, LABEL)
    train_bundle(champion_dir)
    candidate_features = tmp_path / "candidate"
    write_features(candidate_features, build_table(draw_waves), LAYOUT, LABEL)
    train_bundle(candidate_features)
    rows = write_rows(build_table(draw_waves), tmp_path / "rows.parquet")

    result = decide_against_champion(
        build_evaluation_set(rows, candidate_features),
        champion_dir / "model" / "bundle",
        candidate_features,
        local_store,
        GateConfig(bootstrap_samples=100),
    )

    assert result.verdict.decision == "needs-approval"
    assert result.evidence.rows == 0
    assert result.champion_scores is None
