"""Batch scoring: every row has one prediction of the model, or the reason why it has none."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

import tasks.dataset.rowset
import tasks.prediction.predict
import tasks.scoring.output_dataset
import tasks.scoring.score
from models.features.config import Layout, TargetConfig, WindowConfig
from models.features.series import SeriesInput
from models.features.splitting.split import SplitConfig
from models.networks.heads.config import HeadConfig
from tasks.errors import RegistryError, SourceError
from tasks.scoring.output_dataset import FailedRow
from tasks.scoring.score import resolve_version
from tasks.serving.model_package import are_predictions_equal
from tasks.storage.store import Store
from tests.support.input_tables import CATEGORY, KINDS, build_table
from tests.support.scored_versions import (
    build_request,
    delete_models,
    read_predictions,
    register_version,
    score_frame,
)
from tests.support.trained_models import (
    BY_TIME,
    TEXT_LAYOUT,
    build_weekly_layout,
    make_tagged_texts,
    make_upper_case_texts,
    make_weekly_sales,
)

pytestmark = pytest.mark.usefixtures("home")

SALES = SeriesInput(column="sales", scale_per="entity")


@pytest.fixture(scope="module", autouse=True)
def delete_trained_models() -> Iterator[None]:
    yield
    delete_models()


def select_predicted(scored: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    return scored.select(expected.columns)


@pytest.mark.parametrize("kind", ["series", "text, words", "image", "audio", "tree"])
def test_every_row_has_the_prediction_of_the_model(kind: str, local_store: Store) -> None:
    layout, cells = KINDS[kind]
    bundle = register_version(build_table(cells), layout, CATEGORY)
    frame = build_table(cells, seed=1)

    dataset = score_frame(frame, local_store, build_request(passthrough_columns=("id", "town")))

    scored = read_predictions(dataset)
    assert are_predictions_equal(
        select_predicted(scored, bundle.predict(frame)), bundle.predict(frame)
    )
    assert scored["row"].to_list() == list(range(len(frame)))
    assert scored["id"].equals(frame["id"])
    assert scored["target"].to_list() == frame["label"].to_list()
    assert dataset.facts.rows == len(frame)


def test_an_unreadable_row_has_no_prediction_but_a_reason(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    frame = build_table(cells, seed=1).with_columns(
        x=pl.when(pl.col("id") == 7).then(None).otherwise("x"),
        town=pl.when(pl.col("id") == 9).then(None).otherwise("town"),
    )

    dataset = score_frame(frame, local_store, build_request(passthrough_columns=("id",)))

    scored = read_predictions(dataset)
    assert len(scored) == len(frame)
    assert dataset.facts.failed == 1
    assert scored.row(7, named=True)["prediction"] is None
    assert "empty" in scored.row(7, named=True)["status"]
    assert dataset.facts.errors == [FailedRow(row=7, status=scored["status"][7])]


@pytest.mark.parametrize("kind", ["tags", "text"])
def test_tags_and_texts_are_scored_too(kind: str, local_store: Store) -> None:
    tables = {"tags": (make_tagged_texts(), "tags"), "text": (make_upper_case_texts(), "y")}
    frame, column = tables[kind]
    split = SplitConfig(by="column", column="split", duplicates="keep")
    target_config = TargetConfig(column=column, kind=kind)
    head = HeadConfig(decoder="attention")
    bundle = register_version(frame, TEXT_LAYOUT, target_config, split=split, head=head)

    dataset = score_frame(frame, local_store, build_request())

    assert are_predictions_equal(
        select_predicted(read_predictions(dataset), bundle.predict(frame)), bundle.predict(frame)
    )
    # Texts that are also in the training rows are not counted.
    assert 0 < dataset.facts.quality.rows <= frame.filter(split="test").height


def test_quality_is_measured_on_rows_outside_training_only(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    bundle = register_version(build_table(cells), layout, CATEGORY)
    new = build_table(cells, seed=1)

    dataset = score_frame(pl.concat([build_table(cells), new]), local_store, build_request())

    scored = read_predictions(dataset)
    test = build_table(cells).filter(split="test")
    assert scored["in_training"].to_list()[-len(new) :] == [False] * len(new)
    assert (~scored["in_training"]).sum() == len(test) + len(new)
    unseen = pl.concat([test, new])
    accuracy = (bundle.predict(unseen)["prediction"] == unseen["label"]).mean()
    assert dataset.facts.quality.scores["accuracy"].value == pytest.approx(accuracy)


def shuffle_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(fraction=1.0, shuffle=True, seed=3)


@pytest.fixture
def tiny_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.dataset.rowset, "FRAME_BYTES", 400)
    monkeypatch.setattr(tasks.scoring.output_dataset, "PART_FRAMES", 2)


@pytest.mark.usefixtures("tiny_frames")
def test_a_window_at_every_row_is_scored_as_in_one_frame(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    bundle = register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=2), target, split=BY_TIME
    )
    frame = shuffle_rows(make_weekly_sales(40))

    dataset = score_frame(frame, local_store, build_request())

    scored = read_predictions(dataset).sort("row")
    expected = bundle.predict(frame)
    assert len(list(Path(dataset.folder).glob("part-*"))) > 2
    assert are_predictions_equal(select_predicted(scored, expected), expected)
    assert dataset.facts.failed == 2 * 13
    future = frame.select("shop", day=pl.col("day") - pl.duration(days=2), target="sales")
    targets = frame.join(future, on=["shop", "day"], how="left", maintain_order="left")["target"]
    assert scored["target"].equals(targets, check_names=False)


@pytest.mark.usefixtures("tiny_frames")
def test_a_forecast_has_one_row_a_step_at_the_end_of_each_series(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="forecast")
    bundle = register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=7), target, split=BY_TIME,
        head=HeadConfig(loss="student_t"),
    )  # fmt: skip
    frame = shuffle_rows(make_weekly_sales(60)[:110])

    dataset = score_frame(frame, local_store, build_request())

    scored = read_predictions(dataset)
    ends = frame.group_by("shop").agg(pl.col("day").max()).sort("shop")
    expected = bundle.predict(frame).with_columns(frame["shop"], frame["day"])
    for shop, day in ends.iter_rows():
        [row] = expected.filter(shop=shop, day=day).to_dicts()
        steps = scored.filter(shop=shop)
        assert steps["step"].to_list() == list(range(1, 8))
        assert steps["day"].unique().to_list() == [day]
        assert np.allclose(steps["prediction"], row["prediction"], rtol=1e-5)
        assert np.allclose(steps["interval_low"], row["interval_low"], rtol=1e-5)
        assert (steps["forecast_time"] - steps["day"]).dt.total_days().to_list() == list(
            range(1, 8)
        )
    assert dataset.facts.rows == 2
    assert dataset.facts.output_rows == 14


def test_a_forecast_of_several_columns_has_a_column_for_each(local_store: Store) -> None:
    def make_rows(days: int) -> pl.DataFrame:
        return make_weekly_sales(days).with_columns(visits=1000 * pl.col("sales"))

    series = SeriesInput(column=("sales", "visits"), scale_per="entity")
    target = TargetConfig(column=("sales", "visits"), kind="forecast")
    layout = build_weekly_layout(series, horizon=7)
    bundle = register_version(make_rows(160), layout, target, split=BY_TIME)
    frame = make_rows(60)

    scored = read_predictions(score_frame(frame, local_store, build_request(rows="all")))

    expected = bundle.predict(frame).with_columns(frame["shop"], frame["day"])
    for name in ("sales", "visits"):
        steps = scored.filter(shop="b", day=pl.date(2024, 2, 1))
        [row] = expected.filter(shop="b", day=pl.date(2024, 2, 1)).to_dicts()
        following = frame.filter(pl.col("shop") == "b", pl.col("day") > pl.date(2024, 2, 1))
        assert steps["step"].to_list() == list(range(1, 8))
        assert np.allclose(steps[f"prediction_{name}"], row[f"prediction_{name}"], rtol=1e-5)
        assert np.allclose(steps[f"interval_high_{name}"], row[f"interval_high_{name}"], rtol=1e-5)
        assert np.allclose(steps[f"target_{name}"], following[name][:7])
    assert not {"prediction", "target"} & set(scored.columns)


def test_rows_without_a_time_or_with_a_repeated_time_have_a_reason(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    bundle = register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=1), target, split=BY_TIME
    )
    valid = make_weekly_sales(30)
    untimed = valid[:1].with_columns(day=pl.lit(None, pl.Date))
    repeated = valid[20:21].with_columns(sales=pl.lit(1e6))
    frame = pl.concat([valid[:10], untimed, valid[10:], repeated])

    for table in (frame, shuffle_rows(frame)):
        dataset = score_frame(table, local_store, build_request())

        scored = read_predictions(dataset).sort("row")
        status = dict(zip(scored["row"], scored["status"], strict=True))
        assert len(scored) == len(frame)
        indexed = table.with_row_index("row")
        [untimed_row] = indexed.filter(pl.col("day").is_null())["row"]
        assert "'day' is missing" in status[untimed_row]
        assert sum("same time" in message for message in status.values()) == 1
        scorable = indexed.filter(pl.col("day").is_not_null()).unique(["shop", "day"], keep="first")
        expected = scorable.sort("row").select(
            "row", expected=bundle.predict(scorable.sort("row"))["prediction"]
        )
        joined = scored.join(expected, on="row", how="inner")
        assert len(joined) == len(valid)
        assert (
            joined.filter(pl.col("expected").is_not_null())
            .select((pl.col("expected") - pl.col("prediction")).abs().max() < 1e-3)
            .item()
        )


@pytest.mark.usefixtures("tiny_frames")
def test_a_resampled_series_has_one_prediction_a_step_of_its_grid(local_store: Store) -> None:
    series = SeriesInput(column="sales", frequency="2d", aggregate="sum")
    layout = Layout(
        input=series, window=WindowConfig(lookback=5, horizon=1), time="day", entity="shop"
    )
    target = TargetConfig(column="sales", kind="forecast")
    bundle = register_version(make_weekly_sales(), layout, target, split=BY_TIME)
    frame = make_weekly_sales(60)

    all_rows = score_frame(frame, local_store, build_request(rows="all"))
    last_rows = score_frame(frame, local_store, build_request())

    expected = bundle.predict(frame)["prediction"].list.first()
    scored = read_predictions(all_rows)
    assert len(scored) == 2 * 31
    assert np.allclose(
        scored["prediction"].fill_null(0), expected.gather(scored["row"]).fill_null(0), rtol=1e-5
    )
    assert len(read_predictions(last_rows)) == 2
    days_ahead = (
        read_predictions(last_rows)["forecast_time"] - read_predictions(last_rows)["day"]
    ).dt.total_days()
    assert days_ahead.to_list() == [2, 2]


def test_known_future_values_are_read_beyond_the_first_row_of_the_forecast(
    local_store: Store,
) -> None:
    series = SeriesInput(column="sales", known_future=("open",))
    frame = make_weekly_sales(100).with_columns(
        open=(pl.col("day").dt.weekday() < 6).cast(pl.Float64)
    )
    target = TargetConfig(column="sales", kind="forecast")
    register_version(frame, build_weekly_layout(series, horizon=3), target, split=BY_TIME)
    future = frame.with_columns(
        sales=pl.when(pl.col("day") < pl.date(2024, 3, 1)).then("sales"),
    )

    dataset = score_frame(future, local_store, build_request())

    scored = read_predictions(dataset)
    assert scored["day"].unique().to_list() == [pl.select(pl.date(2024, 2, 29)).item()]
    assert dataset.facts.failed == 0
    assert scored["target"].null_count() == len(scored)


def test_a_self_supervised_target_is_scored_without_quality(local_store: Store) -> None:
    target = TargetConfig(kind="reconstruction")
    bundle = register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=1), target, split=BY_TIME
    )

    dataset = score_frame(make_weekly_sales(40), local_store, build_request())

    expected = bundle.predict(make_weekly_sales(40))
    assert are_predictions_equal(select_predicted(read_predictions(dataset), expected), expected)
    assert dataset.facts.quality is None
    assert "target" not in read_predictions(dataset)


@pytest.mark.usefixtures("tiny_frames")
def test_an_interrupted_scoring_publishes_nothing_and_is_resumed(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    frame = pl.concat([build_table(cells, seed=seed) for seed in range(4)])
    whole = score_frame(frame, local_store, build_request(), output="whole")
    frames = []
    predict_frame = tasks.prediction.predict.predict_frame

    def interrupt(scorer, frame):
        frames.append(frame)
        if len(frames) == 7:
            raise KeyboardInterrupt
        return predict_frame(scorer, frame)

    monkeypatch.setattr(tasks.prediction.predict, "predict_frame", interrupt)
    with pytest.raises(KeyboardInterrupt):
        score_frame(frame, local_store, build_request())
    published = [
        path for path in Path(local_store.root, "scores").rglob("*") if path.name[0] == "v"
    ]
    monkeypatch.setattr(tasks.prediction.predict, "predict_frame", predict_frame)

    resumed = score_frame(frame, local_store, build_request())

    assert published == []
    assert resumed.facts.resumed_parts == 3
    assert read_predictions(resumed).equals(read_predictions(whole))
    assert resumed.facts.parts == whole.facts.parts
    leftovers = [path.name for path in Path(resumed.folder).iterdir() if path.name[0] == "."]
    assert leftovers == []


def test_rows_that_were_scored_before_are_not_scored_again(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    first = score_frame(build_table(cells), local_store, build_request())
    monkeypatch.setattr(tasks.scoring.score, "open_scorer", None)

    second = score_frame(build_table(cells), local_store, build_request())

    assert (first.recomputed, second.recomputed) == (True, False)
    assert (second.folder, second.facts) == (first.folder, first.facts)
    latest = json.loads((Path(first.folder).parent / "latest.json").read_text())
    assert latest["folder"] == Path(first.folder).name


def test_a_dataset_records_its_model_and_snapshot(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)

    dataset = score_frame(build_table(cells), local_store, build_request())

    manifest = json.loads((Path(dataset.folder) / "manifest.json").read_text())
    metadata = pq.read_schema(Path(dataset.folder) / "part-00000.parquet").metadata
    assert (manifest["model"], manifest["version"]) == ("waves", "1")
    assert json.loads(metadata[b"ostinato.run_id"]) == manifest["run_id"] == dataset.run_id
    assert json.loads(metadata[b"ostinato.snapshot"]) == manifest["snapshot"]
    assert json.loads(metadata[b"ostinato.classes"]) == ["a", "b", "c"]
    assert read_predictions(dataset)["version"].unique().to_list() == ["1"]


def test_predictions_may_be_written_to_object_storage(local_store: Store, s3_bucket: str) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)

    dataset = score_frame(
        build_table(cells), local_store, build_request(), output=f"s3://{s3_bucket}/predictions"
    )
    second = score_frame(
        build_table(cells), local_store, build_request(), output=f"s3://{s3_bucket}/predictions"
    )

    assert dataset.folder.startswith(f"{s3_bucket}/predictions/v1-")
    assert not second.recomputed
    assert not list(local_store.cache_dir.glob(".v*"))


def test_rows_that_the_version_cannot_read_are_refused_with_the_column(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)

    with pytest.raises(SourceError, match="do not have: x"):
        score_frame(build_table(cells).rename({"x": "y"}), local_store, build_request())
    with pytest.raises(SourceError, match="cannot read these rows"):
        score_frame(
            build_table(cells).with_columns(x=pl.lit("no list")), local_store, build_request()
        )


def test_times_that_are_texts_are_refused_with_a_short_message(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=1), target, split=BY_TIME
    )
    frame = make_weekly_sales(20).with_columns(pl.col("day").cast(pl.String))

    with pytest.raises(SourceError, match=r"cannot read these rows: .* column day") as refused:
        score_frame(frame, local_store, build_request())

    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("kind", ["number", "forecast"])
def test_a_table_without_any_time_has_one_failed_row_a_row(kind: str, local_store: Store) -> None:
    target = TargetConfig(column="sales", kind=kind)
    register_version(
        make_weekly_sales(), build_weekly_layout(SALES, horizon=3), target, split=BY_TIME
    )
    frame = make_weekly_sales(20).with_columns(day=pl.lit(None, pl.Date))

    dataset = score_frame(frame, local_store, build_request())

    assert (dataset.facts.rows, dataset.facts.failed) == (40, 40)
    assert read_predictions(dataset)["row"].to_list() == list(range(40))


def test_a_passthrough_column_does_not_replace_a_prediction_column(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    frame = build_table(cells).with_columns(status=pl.lit("paid"))

    scored = read_predictions(
        score_frame(frame, local_store, build_request(passthrough_columns=("status",)))
    )

    assert set(scored["status"]) == {"ok"}
    assert set(scored["source_status"]) == {"paid"}


def test_a_version_is_resolved_by_number_or_alias() -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)

    assert resolve_version("waves", "1") == "1"
    with pytest.raises(RegistryError, match="no version 'champion'"):
        resolve_version("waves", "champion")


def test_a_version_whose_files_were_changed_is_not_used(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(build_table(cells), layout, CATEGORY)
    [weights] = Path(".ostinato/mlflow").rglob("network.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")

    with pytest.raises(
        RegistryError, match=r"its files were changed .*network\.safetensors is damaged"
    ):
        score_frame(build_table(cells), local_store, build_request())
