"""Batch scoring: every row is answered once, as the model answers it, or has its reason."""

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
from tests.support.input_tables import CATEGORY, KINDS, table
from tests.support.scored_versions import (
    build_request,
    delete_models,
    read_predictions,
    register_version,
    score_frame,
)
from tests.support.trained_models import ALONE, BY_TIME, tagged, tides, turned, weekly

pytestmark = pytest.mark.usefixtures("home")

SALES = SeriesInput(column="sales", scale_per="entity")


@pytest.fixture(scope="module", autouse=True)
def models() -> Iterator[None]:
    yield
    delete_models()


def answers(found: pl.DataFrame, bundle_answers: pl.DataFrame) -> pl.DataFrame:
    return found.select(bundle_answers.columns)


@pytest.mark.parametrize("kind", ["series", "text, words", "image", "audio", "tree"])
def test_every_row_has_the_models_own_answer(kind: str, local_store: Store) -> None:
    layout, cells = KINDS[kind]
    bundle = register_version(table(cells), layout, CATEGORY)
    frame = table(cells, seed=1)

    found = score_frame(frame, local_store, build_request(passthrough_columns=("id", "town")))

    told = read_predictions(found)
    assert are_predictions_equal(answers(told, bundle.predict(frame)), bundle.predict(frame))
    assert told["row"].to_list() == list(range(len(frame)))
    assert told["id"].equals(frame["id"])
    assert told["target"].to_list() == frame["label"].to_list()
    assert found.facts.rows == len(frame)


def test_a_bad_row_keeps_its_place_and_has_its_reason(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    frame = table(cells, seed=1).with_columns(
        x=pl.when(pl.col("id") == 7).then(None).otherwise("x"),
        town=pl.when(pl.col("id") == 9).then(None).otherwise("town"),
    )

    found = score_frame(frame, local_store, build_request(passthrough_columns=("id",)))

    told = read_predictions(found)
    assert len(told) == len(frame)
    assert found.facts.failed == 1
    assert told.row(7, named=True)["prediction"] is None
    assert "empty" in told.row(7, named=True)["status"]
    assert found.facts.errors == [FailedRow(row=7, status=told["status"][7])]


@pytest.mark.parametrize("target", ["tags", "text"])
def test_labels_and_texts_are_answered_too(target: str, local_store: Store) -> None:
    made = {"tags": (tagged(), "tags"), "text": (turned(), "y")}
    frame, column = made[target]
    split = SplitConfig(by="column", column="split", duplicates="keep")
    asks = TargetConfig(column=column, kind=target)
    head = HeadConfig(decoder="attention")
    bundle = register_version(frame, ALONE, asks, split=split, head=head)

    found = score_frame(frame, local_store, build_request())

    assert are_predictions_equal(
        answers(read_predictions(found), bundle.predict(frame)), bundle.predict(frame)
    )
    # A text that also stands in training was learned from.
    assert 0 < found.facts.quality.rows <= frame.filter(split="test").height


def test_quality_is_told_of_rows_that_nothing_was_learned_from(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    bundle = register_version(table(cells), layout, CATEGORY)
    fresh = table(cells, seed=1)

    found = score_frame(pl.concat([table(cells), fresh]), local_store, build_request())

    told = read_predictions(found)
    test = table(cells).filter(split="test")
    assert told["in_training"].to_list()[-len(fresh) :] == [False] * len(fresh)
    assert (~told["in_training"]).sum() == len(test) + len(fresh)
    both = pl.concat([test, fresh])
    share = (bundle.predict(both)["prediction"] == both["label"]).mean()
    assert found.facts.quality.scores["accuracy"].value == pytest.approx(share)


def shuffled(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sample(fraction=1.0, shuffle=True, seed=3)


@pytest.fixture
def tiny_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks.dataset.rowset, "FRAME_BYTES", 400)
    monkeypatch.setattr(tasks.scoring.output_dataset, "PART_FRAMES", 2)


@pytest.mark.usefixtures("tiny_frames")
def test_a_window_at_every_row_is_answered_as_in_one_table(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    bundle = register_version(tides(), weekly(SALES, horizon=2), target, split=BY_TIME)
    frame = shuffled(tides(40))

    found = score_frame(frame, local_store, build_request())

    told = read_predictions(found).sort("row")
    expected = bundle.predict(frame)
    assert len(list(Path(found.folder).glob("part-*"))) > 2
    assert are_predictions_equal(answers(told, expected), expected)
    assert found.facts.failed == 2 * 13
    later = frame.select("shop", day=pl.col("day") - pl.duration(days=2), ahead="sales")
    wanted = frame.join(later, on=["shop", "day"], how="left", maintain_order="left")["ahead"]
    assert told["target"].equals(wanted, check_names=False)


@pytest.mark.usefixtures("tiny_frames")
def test_a_forecast_is_told_step_by_step_at_the_end_of_each_series(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="forecast")
    bundle = register_version(
        tides(), weekly(SALES, horizon=7), target, split=BY_TIME,
        head=HeadConfig(loss="student_t"),
    )  # fmt: skip
    frame = shuffled(tides(60)[:110])

    found = score_frame(frame, local_store, build_request())

    told = read_predictions(found)
    ends = frame.group_by("shop").agg(pl.col("day").max()).sort("shop")
    expected = bundle.predict(frame).with_columns(frame["shop"], frame["day"])
    for shop, day in ends.iter_rows():
        [row] = expected.filter(shop=shop, day=day).to_dicts()
        steps = told.filter(shop=shop)
        assert steps["step"].to_list() == list(range(1, 8))
        assert steps["day"].unique().to_list() == [day]
        assert np.allclose(steps["prediction"], row["prediction"], rtol=1e-5)
        assert np.allclose(steps["interval_low"], row["interval_low"], rtol=1e-5)
        assert (steps["forecast_time"] - steps["day"]).dt.total_days().to_list() == list(
            range(1, 8)
        )
    assert found.facts.rows == 2
    assert found.facts.lines == 14


def test_rows_without_a_place_in_their_series_are_answered_with_that(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    bundle = register_version(tides(), weekly(SALES, horizon=1), target, split=BY_TIME)
    good = tides(30)
    lost = good[:1].with_columns(day=pl.lit(None, pl.Date))
    twin = good[20:21].with_columns(sales=pl.lit(1e6))
    frame = pl.concat([good[:10], lost, good[10:], twin])

    for table_read in (frame, shuffled(frame)):
        found = score_frame(table_read, local_store, build_request())

        told = read_predictions(found).sort("row")
        status = dict(zip(told["row"], told["status"], strict=True))
        assert len(told) == len(frame)
        places = table_read.with_row_index("row")
        [gap] = places.filter(pl.col("day").is_null())["row"]
        assert "'day' is missing" in status[gap]
        assert sum("same time" in words for words in status.values()) == 1
        clean = places.filter(pl.col("day").is_not_null()).unique(["shop", "day"], keep="first")
        expected = clean.sort("row").select(
            "row", answer=bundle.predict(clean.sort("row"))["prediction"]
        )
        both = told.join(expected, on="row", how="inner")
        assert len(both) == len(good)
        assert (
            both.filter(pl.col("answer").is_not_null())
            .select((pl.col("answer") - pl.col("prediction")).abs().max() < 1e-3)
            .item()
        )


@pytest.mark.usefixtures("tiny_frames")
def test_a_resampled_series_has_one_answer_a_step_of_its_grid(local_store: Store) -> None:
    read = SeriesInput(column="sales", frequency="2d", aggregate="sum")
    layout = Layout(
        input=read, window=WindowConfig(lookback=5, horizon=1), time="day", entity="shop"
    )
    target = TargetConfig(column="sales", kind="forecast")
    bundle = register_version(tides(), layout, target, split=BY_TIME)
    frame = tides(60)

    every = score_frame(frame, local_store, build_request(rows="all"))
    last = score_frame(frame, local_store, build_request())

    expected = bundle.predict(frame)["prediction"].list.first()
    told = read_predictions(every)
    assert len(told) == 2 * 31
    assert np.allclose(
        told["prediction"].fill_null(0), expected.gather(told["row"]).fill_null(0), rtol=1e-5
    )
    assert len(read_predictions(last)) == 2
    ahead = (
        read_predictions(last)["forecast_time"] - read_predictions(last)["day"]
    ).dt.total_days()
    assert ahead.to_list() == [2, 2]


def test_what_is_known_ahead_reaches_beyond_the_forecasts_first_row(local_store: Store) -> None:
    read = SeriesInput(column="sales", known_future=("open",))
    frame = tides(100).with_columns(open=(pl.col("day").dt.weekday() < 6).cast(pl.Float64))
    target = TargetConfig(column="sales", kind="forecast")
    register_version(frame, weekly(read, horizon=3), target, split=BY_TIME)
    ahead = frame.with_columns(
        sales=pl.when(pl.col("day") < pl.date(2024, 3, 1)).then("sales"),
    )

    found = score_frame(ahead, local_store, build_request())

    told = read_predictions(found)
    assert told["day"].unique().to_list() == [pl.select(pl.date(2024, 2, 29)).item()]
    assert found.facts.failed == 0
    assert told["target"].null_count() == len(told)


def test_what_has_no_answer_is_mined(local_store: Store) -> None:
    target = TargetConfig(kind="reconstruction")
    bundle = register_version(tides(), weekly(SALES, horizon=1), target, split=BY_TIME)

    found = score_frame(tides(40), local_store, build_request())

    expected = bundle.predict(tides(40))
    assert are_predictions_equal(answers(read_predictions(found), expected), expected)
    assert found.facts.quality is None
    assert "target" not in read_predictions(found)


@pytest.mark.usefixtures("tiny_frames")
def test_a_scoring_that_is_cut_short_shows_nothing_and_goes_on(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    frame = pl.concat([table(cells, seed=seed) for seed in range(4)])
    whole = score_frame(frame, local_store, build_request(), output="whole")
    frames = []
    own = tasks.prediction.predict.predict_frame

    def broken(question, frame):
        frames.append(frame)
        if len(frames) == 7:
            raise KeyboardInterrupt
        return own(question, frame)

    monkeypatch.setattr(tasks.prediction.predict, "predict_frame", broken)
    with pytest.raises(KeyboardInterrupt):
        score_frame(frame, local_store, build_request())
    shown = [path for path in Path(local_store.root, "scores").rglob("*") if path.name[0] == "v"]
    monkeypatch.setattr(tasks.prediction.predict, "predict_frame", own)

    again = score_frame(frame, local_store, build_request())

    assert shown == []
    assert again.facts.resumed_parts == 3
    assert read_predictions(again).equals(read_predictions(whole))
    assert again.facts.parts == whole.facts.parts
    left = [path.name for path in Path(again.folder).iterdir() if path.name[0] == "."]
    assert left == []


def test_what_is_answered_already_is_asked_of_nobody(
    local_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    first = score_frame(table(cells), local_store, build_request())
    monkeypatch.setattr(tasks.scoring.score, "open_scorer", None)

    again = score_frame(table(cells), local_store, build_request())

    assert (first.recomputed, again.recomputed) == (True, False)
    assert (again.folder, again.facts) == (first.folder, first.facts)
    latest = json.loads((Path(first.folder).parent / "latest.json").read_text())
    assert latest["folder"] == Path(first.folder).name


def test_a_dataset_says_what_it_was_made_from(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)

    found = score_frame(table(cells), local_store, build_request())

    manifest = json.loads((Path(found.folder) / "manifest.json").read_text())
    told = pq.read_schema(Path(found.folder) / "part-00000.parquet").metadata
    assert (manifest["model"], manifest["version"]) == ("waves", "1")
    assert json.loads(told[b"ostinato.run_id"]) == manifest["run_id"] == found.run_id
    assert json.loads(told[b"ostinato.snapshot"]) == manifest["snapshot"]
    assert json.loads(told[b"ostinato.classes"]) == ["a", "b", "c"]
    assert read_predictions(found)["version"].unique().to_list() == ["1"]


def test_answers_may_lie_in_object_storage(local_store: Store, s3_bucket: str) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)

    found = score_frame(
        table(cells), local_store, build_request(), output=f"s3://{s3_bucket}/answers"
    )
    again = score_frame(
        table(cells), local_store, build_request(), output=f"s3://{s3_bucket}/answers"
    )

    assert found.folder.startswith(f"{s3_bucket}/answers/v1-")
    assert not again.recomputed
    assert not list(local_store.cache_dir.glob(".v*"))


def test_rows_that_the_version_cannot_read_are_refused_by_name(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)

    with pytest.raises(SourceError, match="do not have: x"):
        score_frame(table(cells).rename({"x": "y"}), local_store, build_request())
    with pytest.raises(SourceError, match="cannot read these rows"):
        score_frame(table(cells).with_columns(x=pl.lit("no list")), local_store, build_request())


def test_times_that_are_texts_are_refused_without_showing_the_table(local_store: Store) -> None:
    target = TargetConfig(column="sales", kind="number")
    register_version(tides(), weekly(SALES, horizon=1), target, split=BY_TIME)
    frame = tides(20).with_columns(pl.col("day").cast(pl.String))

    with pytest.raises(SourceError, match=r"cannot read these rows: .* column day") as refused:
        score_frame(frame, local_store, build_request())

    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("kind", ["number", "forecast"])
def test_a_table_in_which_no_row_has_a_place_is_answered_row_by_row(
    kind: str, local_store: Store
) -> None:
    target = TargetConfig(column="sales", kind=kind)
    register_version(tides(), weekly(SALES, horizon=3), target, split=BY_TIME)
    frame = tides(20).with_columns(day=pl.lit(None, pl.Date))

    found = score_frame(frame, local_store, build_request())

    assert (found.facts.rows, found.facts.failed) == (40, 40)
    assert read_predictions(found)["row"].to_list() == list(range(40))


def test_a_columns_own_name_hides_none_of_the_answers(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    frame = table(cells).with_columns(status=pl.lit("paid"))

    told = read_predictions(
        score_frame(frame, local_store, build_request(passthrough_columns=("status",)))
    )

    assert set(told["status"]) == {"ok"}
    assert set(told["source_status"]) == {"paid"}


def test_a_version_is_named_by_number_or_alias_or_refused() -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)

    assert resolve_version("waves", "1") == "1"
    with pytest.raises(RegistryError, match="no version 'champion'"):
        resolve_version("waves", "champion")


def test_a_version_whose_files_were_changed_does_not_answer(local_store: Store) -> None:
    layout, cells = KINDS["series"]
    register_version(table(cells), layout, CATEGORY)
    [weights] = Path(".ostinato/mlflow").rglob("network.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")

    with pytest.raises(RegistryError, match="is not used: its files have changed"):
        score_frame(table(cells), local_store, build_request())
