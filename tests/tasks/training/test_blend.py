"""A network joined with branches: one model, whatever the input, that predicts raw rows."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from flows.job.job import load_job
from models.bundle import Bundle, load_bundle
from models.networks.blend import Blend
from tasks.records import Candidate
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store
from tests.support.input_tables import KINDS, build_table
from tests.support.pipeline import prepare_features, train_job
from tests.support.sample_jobs import make_sales, make_waves, write_job

INPUTS = {
    "series": {"kind": "series"},
    "text, bpe": {"kind": "text", "vocab_size": 300},
    "text, words": {"kind": "text", "tokenizer": "word"},
    "text, characters": {"kind": "text", "tokenizer": "character"},
    "tree": {"kind": "tree"},
    "image": {"kind": "image", "size": [8, 8]},
}


def write_table_job(folder: Path, table: pl.DataFrame, **sections: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    table.write_parquet(folder / "rows.parquet")
    job = {
        "name": "rows",
        "source": {"uri": str(folder / "rows.parquet")},
        "contract": str(folder / "contract.yaml"),
        "store": {"uri": str(folder / "store")},
        "model": {"hidden_size": 8},
        "training": {"epochs": 2, "folds": 1},
    }
    return write_job(folder, job | sections)


def train(path: Path) -> tuple[Store, Candidate, Bundle]:
    job = load_job(path)
    store, _, _, features = prepare_features(job)
    assert job.model != "auto"
    candidate = train_job(job, features, store)
    return store, candidate, load_bundle(local_dir(store, candidate) / "bundle")


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("folds", [1, 3])
def test_every_kind_of_input_is_predicted_together(kind: str, folds: int, tmp_path: Path) -> None:
    table = build_table(KINDS[kind][1])
    path = write_table_job(
        tmp_path,
        table,
        inputs=[
            {"column": "x", **INPUTS[kind]},
            {"column": "town", "kind": "category", "min_frequency": 1},
            {"column": "size", "kind": "number"},
        ],
        target={"column": "label", "kind": "category"},
        split={"by": "column", "column": "split"},
        training={"epochs": 1, "folds": folds},
    )

    _, candidate, bundle = train(path)

    assert isinstance(bundle.network, Blend)
    assert candidate.facts.branches
    assert candidate.facts.folds == folds
    together = bundle.predict(table)
    alone = pl.concat(bundle.predict(table[row : row + 1]) for row in range(5))
    np.testing.assert_allclose(
        alone["probabilities"].to_list(), together["probabilities"][:5].to_list(), atol=1e-4
    )


def test_trees_whose_nodes_are_supervised_have_a_branch_of_their_words(tmp_path: Path) -> None:
    table = build_table(KINDS["tree"][1]).with_columns(label=pl.col("x").str.slice(1, 1))
    path = write_table_job(
        tmp_path,
        table,
        inputs=[{"column": "x", "kind": "tree", "supervise_nodes": True, "min_frequency": 1}],
        target={"column": "label", "kind": "category"},
        split={"by": "column", "column": "split"},
        training={"epochs": 1, "folds": 1},
    )

    _, candidate, bundle = train(path)

    assert candidate.facts.branches == ["ngrams"]
    predicted = bundle.predict(table)
    assert set(predicted["status"]) == {"ok"}
    assert set(predicted["prediction"]) <= set(table["label"])


def test_a_number_with_quantiles_has_them_in_order(tmp_path: Path) -> None:
    waves = make_waves(120).with_columns(height=pl.col("wave").list.max())
    path = write_table_job(
        tmp_path,
        waves,
        inputs=[{"column": "wave", "kind": "series"}],
        target={"column": "height", "kind": "number"},
        head={"loss": "quantile"},
    )

    _, _, bundle = train(path)

    predictions = bundle.predict(waves)
    low, middle, high = (predictions[f"quantile_{level}"] for level in ("0.1", "0.5", "0.9"))
    assert (low <= middle).all()
    assert (middle <= high).all()


def test_a_forecast_has_all_its_steps(tmp_path: Path) -> None:
    path = write_table_job(
        tmp_path,
        make_sales(200),
        source={"uri": str(tmp_path / "rows.parquet"), "time": "day"},
        inputs=[{"column": "sales", "kind": "series"}],
        target={"column": "sales", "kind": "forecast"},
        window={"lookback": 14, "horizon": 3},
    )

    _, candidate, bundle = train(path)

    assert candidate.facts.branches == ["linear"]
    assert sum(candidate.facts.branch_weights) + candidate.facts.recurrent_weight == pytest.approx(
        1
    )
    predictions = bundle.predict(make_sales(200))
    assert (
        predictions.filter(pl.col("status") == "ok")["prediction"].list.len().unique().item() == 3
    )


def test_the_same_job_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        path = write_table_job(
            tmp_path / name,
            make_waves(60),
            inputs=[{"column": "wave", "kind": "series"}],
            target={"column": "label", "kind": "category"},
            training={"epochs": 2, "folds": 3},
        )
        store, candidate, _ = train(path)
        folder = Path(local_dir(store, candidate)) / "bundle"
        contents.append({file.name: file.read_bytes() for file in sorted(folder.iterdir())})

    assert contents[0] == contents[1]
    assert {"branch_1.safetensors", "network_3.safetensors", "training_rows.safetensors"} <= set(
        contents[0]
    )


def test_more_rows_than_a_branch_can_be_fitted_on_are_thinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.training.blend._MAX_ROWS", 40)
    path = write_table_job(
        tmp_path,
        make_waves(300),
        inputs=[{"column": "wave", "kind": "series"}],
        target={"column": "label", "kind": "category"},
        split={"validation": 0.4},
    )

    _, candidate, bundle = train(path)

    assert candidate.facts.branches == ["rocket", "linear"]
    predictions = bundle.predict(make_waves(100, seed=9))["prediction"]
    assert (predictions == make_waves(100, seed=9)["label"]).mean() > 0.8


def make_states(rows: int = 260, *, seed: int = 0) -> pl.DataFrame:
    """A machine that keeps its state nine times of ten, and goes on to the next one otherwise."""
    draw = np.random.default_rng(seed)
    index = np.cumsum(draw.random(rows) < 0.1) % 3
    hours = pl.datetime_range(
        pl.datetime(2024, 1, 1), pl.datetime(2025, 1, 1), "1h", eager=True
    ).head(rows)
    states = np.array(["busy", "down", "idle"])[index]
    return pl.DataFrame({"at": hours, "heat": draw.normal(size=rows), "state": states})


def write_state_job(folder: Path) -> Path:
    return write_table_job(
        folder,
        make_states(),
        source={"uri": str(folder / "rows.parquet"), "time": "at"},
        inputs=[{"column": "heat", "kind": "series", "categories": ["state"]}],
        target={"column": "state", "kind": "category"},
        window={"lookback": 5, "horizon": 1},
    )


def test_the_last_class_of_a_window_is_known(tmp_path: Path) -> None:
    _, candidate, bundle = train(write_state_job(tmp_path))

    assert candidate.facts.branches == ["transition", "linear"]
    states = make_states(seed=1)
    predicted = bundle.predict(states)["prediction"].head(-1)
    following = states["state"].shift(-1).head(-1)
    assert (predicted == following).tail(-5).mean() > 0.85


def test_no_prediction_changes_with_labels_that_come_later(tmp_path: Path) -> None:
    _, _, bundle = train(write_state_job(tmp_path))
    states, end = make_states(seed=2), 100
    later = pl.Series("state", states["state"].to_list()[end + 1 :]).shuffle(seed=3)
    changed = states.with_columns(state=pl.concat([states["state"].head(end + 1), later]))
    unknown = states.with_columns(
        state=pl.when(pl.int_range(pl.len()) <= end).then("state").otherwise(None)
    )

    before = bundle.predict(states)

    for other in (changed, unknown):
        after = bundle.predict(other)
        assert before[: end + 1].equals(after[: end + 1])
        assert not before[end + 1 :].equals(after[end + 1 :])


@pytest.mark.parametrize("target", ["category", "number"])
def test_parts_are_predicted_once_with_the_same_answers_as_alone(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waves = make_waves(120).with_columns(height=pl.col("wave").list.max())
    column = "label" if target == "category" else "height"
    path = write_table_job(
        tmp_path,
        waves,
        inputs=[{"column": "wave", "kind": "series"}],
        target={"column": column, "kind": target},
        training={"epochs": 2, "ensemble": "auto", "folds": 2},
    )
    _, candidate, bundle = train(path)
    assert isinstance(bundle.network, Blend)
    expected, calls = bundle.predict(waves), list[str]()
    for branch in bundle.network.branches:
        forward = branch.forward
        monkeypatch.setattr(branch, "forward", lambda *a, f=forward: calls.append("x") or f(*a))

    tables = bundle.predict_parts(waves)

    assert tables.pop("").equals(expected)
    assert len(calls) == len(bundle.network.branches)
    used = [part for part in candidate.facts.library if part.weight]
    assert [name.partition(" ")[0] for name in tables][-1] == used[-1].name
    for table in tables.values():
        assert table.columns[:1] == ["prediction"]
        assert set(table["status"]) == {"ok"}
