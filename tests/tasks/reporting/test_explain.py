"""Explanations: what the steps are given adds up to the answer, for every kind of input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models.bundle import Bundle
from models.evaluation.attribution import Sequence, attribute
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
from tests.support.input_tables import CATEGORY, KINDS, NUMBER, by_day, shops, table, whole
from tests.support.trained_models import (
    ALONE,
    BY_TIME,
    features,
    tagged,
    tides,
    trained,
    turned,
    weekly,
)


def explained(folder: Path, rows: RowSet, bundle: Bundle) -> list[Explanation]:
    featurizer = load_featurizer(folder)
    test = load_test_rows(rows, folder, featurizer)
    scale_R = compute_naive_scale(rows, read_sequences(folder, TEST), featurizer, season=7)
    said = predict_test_rows(bundle, rows, test)
    answers = pair_with_targets(said, test, featurizer, scale_R)
    return explain_rows(
        bundle, answers, prediction_table=said, test=test, rows=rows, features_dir=folder
    )


def given(row: Explanation) -> float:
    """All that the steps of a row were given."""
    steps = row.steps
    return sum(step.share if step.share is not None else sum(step.shares) for step in steps)


def assert_complete(rows: list[Explanation]) -> None:
    assert 0 < len(rows) <= MAX_ROWS
    for row in rows:
        change = row.end - row.start
        assert given(row) == pytest.approx(change, abs=0.01 + 0.02 * abs(change)), row.row
        assert abs(row.gap) < 0.01 + 0.02 * abs(change)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_steps_are_given_adds_up_to_the_answer(kind: str, tmp_path: Path) -> None:
    layout, cells = KINDS[kind]
    folder = tmp_path / "features"
    rows = features(folder, table(cells), layout, CATEGORY)
    tree = {"cell": "tree-lstm", "hidden_size": 8, "embedding_dim": 6} if kind == "tree" else {}
    bundle = trained(folder, epochs=3, **tree)

    found = explained(folder, rows, bundle)

    assert_complete(found)
    assert {row.class_name for row in found} == {"a", "b", "c"}
    assert all(row.steps for row in found)


@pytest.mark.parametrize("read", ["columns", "convolutions", "patches"])
def test_pixels_have_shares_in_whatever_way_an_image_is_read(read: str, tmp_path: Path) -> None:
    _, cells = KINDS["image"]
    folder = tmp_path / "features"
    layout = whole(ImageInput(column="x", sequence=read, patch=2, size=(16, 16)))
    rows = features(folder, table(cells), layout, CATEGORY)

    found = explained(folder, rows, trained(folder, epochs=1))

    assert_complete(found)
    assert {len(row.steps) for row in found} == {16}


def test_a_number_s_shares_are_in_its_own_unit(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = features(folder, shops(), by_day(SeriesInput(column="sales")), NUMBER, BY_TIME)

    found = explained(folder, rows, trained(folder, epochs=2))

    assert_complete(found)
    for row in found:
        assert row.end == pytest.approx(row.prediction, rel=1e-3)


@pytest.mark.parametrize("error", ["mae", "quantile", "gaussian_nll"])
def test_a_forecast_s_shares_add_up_to_the_mean_of_its_steps(error: str, tmp_path: Path) -> None:
    folder = tmp_path / "features"
    target = TargetConfig(column="sales", kind="forecast")
    rows = features(
        folder, tides(), weekly(SeriesInput(column="sales"), horizon=3), target, BY_TIME
    )

    found = explained(folder, rows, trained(folder, head=HeadConfig(loss=error)))

    assert_complete(found)
    for row in found:
        assert row.end == pytest.approx(np.mean(row.prediction), rel=0.01)
        assert row.channels[0] == "sales"


def test_tags_are_explained_by_one_of_their_labels(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    layout = replace(ALONE, input=TextInput(column="x", tokenizer="word"))
    rows = features(folder, tagged(), layout, TargetConfig(column="tags", kind="tags"))

    found = explained(folder, rows, trained(folder, epochs=4))

    assert_complete(found)
    assert {step.token for row in found for step in row.steps} <= {
        "sun", "rain", "wind", "of", "the", "day",
    }  # fmt: skip


def test_a_text_tells_where_each_of_its_symbols_looked(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    rows = features(folder, turned(), ALONE, TargetConfig(column="y", kind="text"))
    bundle = trained(folder, epochs=1, head=HeadConfig(decoder="attention"))

    found = explained(folder, rows, bundle)

    for row in found:
        looks = np.array([step.looks for step in row.steps])
        assert looks.shape[1] == len(row.written)
        np.testing.assert_allclose(looks.sum(axis=0), 1, atol=1e-3)


def test_what_was_mined_tells_the_error_of_each_step(tmp_path: Path) -> None:
    folder = tmp_path / "features"
    layout, cells = KINDS["series"]
    plain = replace(ALONE, input=layout.input)
    rows = features(folder, table(cells), plain, TargetConfig(kind="next_step"))

    found = explained(folder, rows, trained(folder))

    assert {row.method for row in found} == {"error by step"}
    assert all(sum(step.shares) >= 0 for row in found for step in row.steps)


def test_equal_models_are_explained_in_equal_words(tmp_path: Path) -> None:
    layout, cells = KINDS["text, words"]
    rows = features(tmp_path / "a", table(cells), layout, CATEGORY)
    bundle = trained(tmp_path / "a")

    first, second = (explained(tmp_path / "a", rows, bundle) for _ in range(2))

    assert first == second


def test_explaining_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    layout, cells = KINDS["text, words"]
    features(tmp_path / "a", table(cells), layout, CATEGORY)
    network = trained(tmp_path / "a").network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    statics = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 2)
    sequence = Sequence(torch.tensor([[1], [2], [0]], dtype=torch.int32), StaticBatch(*statics))

    attribute(network, sequence, torch.tensor([1.0, -1.0, 0.0]))

    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in before.items())
    assert not network.training
    assert all(weight.grad is None for weight in network.parameters())


def test_right_and_wrong_rows_of_each_class_are_chosen() -> None:
    truth = np.repeat(np.arange(3.0), 20)
    answer = np.where(np.arange(60) % 4 == 0, (truth + 1) % 3, truth)
    chosen = choose_rows(SinglePredictions(truth, answer, np.linspace(0, 1, 60), 3))

    by_class = {(truth[one.position], one.is_correct) for one in chosen}
    assert by_class == {(float(code), right) for code in range(3) for right in (True, False)}
    assert all(one.is_correct == (truth[one.position] == answer[one.position]) for one in chosen)


def test_many_classes_never_make_many_explanations() -> None:
    truth = np.arange(500.0) % 90

    chosen = choose_rows(SinglePredictions(truth, truth, np.ones(500), 90))

    assert 0 < len(chosen) <= MAX_ROWS
