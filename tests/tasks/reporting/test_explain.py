"""Explanations: attributions of the steps add up to the prediction, for every kind of input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from models.bundle import Bundle
from models.evaluation.attribution import SequenceInput, compute_attribution
from models.evaluation.predictions import SinglePredictions
from models.features.config import TargetConfig
from models.features.featurizer import load_featurizer
from models.features.image import ImageInput
from models.features.series import SeriesInput
from models.features.splitting.split import TEST
from models.features.text import TextInput
from models.networks.heads.config import HeadConfig
from models.networks.inputs.front import StaticBatch
from tasks.dataset.feature_files import read_sequences
from tasks.dataset.labels import load_test_rows
from tasks.dataset.rowset import RowSet
from tasks.prediction.test_predictions import (
    compute_naive_scale,
    pair_with_targets,
    predict_test_rows,
)
from tasks.report_record import Explanation
from tasks.reporting.example_rows import MAX_ROWS, choose_rows
from tasks.reporting.explain import explain_rows
from tests.support.input_tables import (
    CATEGORY,
    KINDS,
    NUMBER,
    build_daily_layout,
    build_row_layout,
    build_shop_sales,
    build_table,
)
from tests.support.trained_models import (
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_upper_case_texts,
    make_weekly_sales,
    train_bundle,
    write_features,
)


def explain_test_rows(folder: Path, rows: RowSet, bundle: Bundle) -> list[Explanation]:
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    scale_R = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=7)
    prediction_table = predict_test_rows(bundle, rows, test)
    predictions = pair_with_targets(prediction_table, test, featurizer, scale_R)
    return explain_rows(
        bundle,
        predictions,
        prediction_table=prediction_table,
        test=test,
        rows=rows,
        features_dir=folder,
    )


def sum_shares(row: Explanation) -> float:
    """Return the sum of the shares of all steps of a row."""
    steps = row.steps
    return sum(step.share if step.share is not None else sum(step.shares) for step in steps)


def assert_complete(rows: list[Explanation]) -> None:
    assert 0 < len(rows) <= MAX_ROWS
    for row in rows:
        change = row.end - row.start
        assert sum_shares(row) == pytest.approx(change, abs=0.01 + 0.02 * abs(change)), row.row
        assert abs(row.gap) < 0.01 + 0.02 * abs(change)


@pytest.mark.parametrize("kind", KINDS)
def test_the_shares_of_the_steps_add_up_to_the_prediction(kind: str, tmp_path: Path) -> None:
    layout, cells = KINDS[kind]
    folder = tmp_path / "features"
    rows = write_features(folder, build_table(cells), layout, CATEGORY)
    tree = {"cell": "tree-lstm", "hidden_size": 8, "embedding_dim": 6} if kind == "tree" else {}
    bundle = train_bundle(folder, epochs=3, **tree)

    explanations = explain_test_rows(folder, rows, bundle)

    assert_complete(explanations)
    assert {row.class_name for row in explanations} == {"a", "b", "c"}
    assert all(row.steps for row in explanations)


@pytest.mark.parametrize("sequence", ["columns", "convolutions", "patches"])
def test_pixels_have_shares_for_every_sequence_of_an_image(sequence: str, tmp_path: Path) -> None:
    _, cells = KINDS["image"]
    folder = tmp_path / "features"
    layout = build_row_layout(ImageInput(column="x", sequence=sequence, patch=2, size=(16, 16)))
    rows = write_features(folder, build_table(cells), layout, CATEGORY)

    explanations = explain_test_rows(folder, rows, train_bundle(folder, epochs=1))

    assert_complete(explanations)
    assert {len(row.steps) for row in explanations} == {16}


def test_the_shares_of_a_number_are_in_the_unit_of_the_target(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = write_features(
        folder, build_shop_sales(), build_daily_layout(SeriesInput(column="sales")), NUMBER, BY_TIME
    )

    explanations = explain_test_rows(folder, rows, train_bundle(folder, epochs=2))

    assert_complete(explanations)
    for row in explanations:
        assert row.end == pytest.approx(row.prediction, rel=1e-3)


@pytest.mark.parametrize("loss", ["mae", "quantile", "gaussian_nll"])
def test_the_shares_of_a_forecast_add_up_to_the_mean_of_its_steps(
    loss: str, tmp_path: Path
) -> None:
    folder = tmp_path / "features"
    target = TargetConfig(column="sales", kind="forecast")
    rows = write_features(
        folder,
        make_weekly_sales(),
        build_weekly_layout(SeriesInput(column="sales"), horizon=3),
        target,
        BY_TIME,
    )

    explanations = explain_test_rows(folder, rows, train_bundle(folder, head=HeadConfig(loss=loss)))

    assert_complete(explanations)
    for row in explanations:
        assert row.end == pytest.approx(np.mean(row.prediction), rel=0.01)
        assert row.channels[0] == "sales"


def test_tags_are_explained_for_one_label(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    layout = replace(TEXT_LAYOUT, input=TextInput(column="x", tokenizer="word"))
    rows = write_features(
        folder, make_tagged_texts(), layout, TargetConfig(column="tags", kind="tags")
    )

    explanations = explain_test_rows(folder, rows, train_bundle(folder, epochs=4))

    assert_complete(explanations)
    assert {step.token for row in explanations for step in row.steps} <= {
        "sun", "rain", "wind", "of", "the", "day",
    }  # fmt: skip


def test_each_symbol_of_a_predicted_text_has_attention_weights(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = write_features(
        folder, make_upper_case_texts(), TEXT_LAYOUT, TargetConfig(column="y", kind="text")
    )
    bundle = train_bundle(folder, epochs=1, head=HeadConfig(decoder="attention"))

    explanations = explain_test_rows(folder, rows, bundle)

    for row in explanations:
        attention = np.array([step.attention for step in row.steps])
        assert attention.shape[1] == len(row.symbols)
        np.testing.assert_allclose(attention.sum(axis=0), 1, atol=1e-3)


def test_a_self_supervised_row_has_the_error_of_each_step(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    layout, cells = KINDS["series"]
    layout = replace(TEXT_LAYOUT, input=layout.input)
    rows = write_features(folder, build_table(cells), layout, TargetConfig(kind="next_step"))

    explanations = explain_test_rows(folder, rows, train_bundle(folder))

    assert {row.method for row in explanations} == {"error by step"}
    assert all(sum(step.shares) >= 0 for row in explanations for step in row.steps)


def test_explanations_of_the_same_model_are_equal(tmp_path: Path) -> None:
    layout, cells = KINDS["text, words"]
    rows = write_features(tmp_path / "a", build_table(cells), layout, CATEGORY)
    bundle = train_bundle(tmp_path / "a")

    first, second = (explain_test_rows(tmp_path / "a", rows, bundle) for _ in range(2))

    assert first == second


def test_explaining_does_not_change_the_network(tmp_path: Path) -> None:
    layout, cells = KINDS["text, words"]
    write_features(tmp_path / "a", build_table(cells), layout, CATEGORY)
    network = train_bundle(tmp_path / "a").network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    statics = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2)
    sequence = SequenceInput(
        torch.tensor([[1], [2], [0]], dtype=torch.int32), StaticBatch(*statics)
    )

    compute_attribution(network, sequence, torch.tensor([1.0, -1.0, 0.0]))

    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert not network.training
    assert all(weight.grad is None for weight in network.parameters())


def test_correct_and_wrong_rows_of_each_class_are_chosen() -> None:
    targets = np.repeat(np.arange(3.0), 20)
    prediction = np.where(np.arange(60) % 4 == 0, (targets + 1) % 3, targets)
    chosen = choose_rows(SinglePredictions(targets, prediction, np.linspace(0, 1, 60), 3))

    by_class = {(targets[row.position], row.is_correct) for row in chosen}
    assert by_class == {
        (float(code), is_correct) for code in range(3) for is_correct in (True, False)
    }
    assert all(
        row.is_correct == (targets[row.position] == prediction[row.position]) for row in chosen
    )


def test_the_number_of_explanations_is_limited_with_many_classes() -> None:
    targets = np.arange(500.0) % 90

    chosen = choose_rows(SinglePredictions(targets, targets, np.ones(500), 90))

    assert 0 < len(chosen) <= MAX_ROWS


def test_the_columns_of_a_forecast_are_explained_in_turn(tmp_path: Path) -> None:
    frame = make_weekly_sales().with_columns(visits=1000 * pl.col("sales"))
    layout = build_weekly_layout(SeriesInput(column=("sales", "visits")), horizon=3)
    target = TargetConfig(column=("sales", "visits"), kind="forecast")
    folder = tmp_path / "features"
    rows = write_features(folder, frame, layout, target, BY_TIME)

    explanations = explain_test_rows(folder, rows, train_bundle(folder, epochs=2))

    assert_complete(explanations[0::2])
    assert {row.quantity for row in explanations[0::2]} == {"mean of the next 3 values of sales"}
    assert {row.quantity for row in explanations[1::2]} == {"mean of the next 3 values of visits"}
    for row in explanations:
        assert len(row.target) == len(row.prediction) == 3
        assert row.end == pytest.approx(np.mean(row.prediction), rel=1e-2)
