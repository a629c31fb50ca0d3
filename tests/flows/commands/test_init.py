"""`init`: a job and a contract drafted from the data itself."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from data_contracts.contract import read_contract
from flows.commands.check import check_job
from flows.commands.demo_data import make_digits
from flows.commands.drafting.draft import DraftOptions
from flows.commands.init import DraftedFiles, draft_job_files
from flows.job.job import Job, load_job
from tasks.errors import DataError, JobError
from tests.support.sample_jobs import make_sales, make_waves


@pytest.fixture(autouse=True)
def _own_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store of a draft is in the working folder."""
    monkeypatch.chdir(tmp_path)


def draft_files(
    frame: pl.DataFrame,
    folder: Path,
    *,
    name: str | None = None,
    force: bool = False,
    **options: Any,
) -> DraftedFiles:
    path = folder / "data.parquet"
    frame.write_parquet(path)
    wishes = DraftOptions(**options)
    return draft_job_files(str(path), wishes, name=name, folder=folder / "out", force=force)


def draft_job(frame: pl.DataFrame, folder: Path, **options: Any) -> Job:
    files = draft_files(frame, folder, **options)
    contract = read_contract(files.contract)
    job = load_job(files.job)
    assert set(contract.columns) == set(job.required_columns)
    return job


def make_seasonal(steps: int, *, season: int = 12, step: str = "1mo") -> pl.DataFrame:
    """A rising series with a season; its times are dates."""
    start = date(2001, 1, 1)
    days = pl.date_range(start, start + timedelta(days=32 * steps), step, eager=True).head(steps)
    values = np.sin(2 * np.pi * np.arange(steps) / season) * 10 + np.arange(steps) * 0.3
    noise = np.random.default_rng(0).normal(size=steps)
    return pl.DataFrame({"day": days, "sold": values + noise})


def test_images_are_recognized_and_their_label_is_found(tmp_path: Path) -> None:
    job = draft_job(make_digits().head(50), tmp_path)

    assert (job.inputs[0].kind, job.inputs[0].columns) == ("image", ("image",))
    assert (job.target.column, job.target.kind) == ("digit", "category")
    assert job.window is None


def test_list_columns_are_one_sequence_per_row(tmp_path: Path) -> None:
    job = draft_job(make_waves(30), tmp_path)

    assert (job.inputs[0].kind, job.inputs[0].columns) == ("series", ("wave",))
    assert (job.target.column, job.target.kind) == ("label", "category")


def test_a_table_with_a_date_is_read_as_windows(tmp_path: Path) -> None:
    job = draft_job(make_sales(60), tmp_path)

    assert job.source.time == "day"
    assert job.window is not None
    assert (job.target.column, job.target.kind) == ("sales", "forecast")


def test_the_entity_column_is_found(tmp_path: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(20)]
    shops = [make_sales(20).with_columns(day=pl.Series(days), shop=pl.lit(name)) for name in "ab"]

    job = draft_job(pl.concat(shops), tmp_path, target="sales")

    assert job.source.entity == "shop"


def test_a_given_target_and_name_take_precedence(tmp_path: Path) -> None:
    frame = make_waves(30).with_columns(size=pl.col("id") * 0.5)

    job = draft_job(frame, tmp_path, target="size", name="sizes")

    assert (job.name, job.target.column, job.target.kind) == ("sizes", "size", "number")


def test_nothing_is_overwritten_without_the_flag(tmp_path: Path) -> None:
    draft_job(make_waves(30), tmp_path)

    with pytest.raises(JobError, match=r"data\.yaml exists already"):
        draft_job(make_waves(30), tmp_path)
    assert draft_job(make_waves(30), tmp_path, force=True)


def test_the_error_for_a_table_without_sequences_explains_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no column can be read as a sequence.*a sequence is"):
        draft_job(pl.DataFrame({"a": ["x", "y"], "b": [1, 2]}), tmp_path)


def test_an_unknown_target_lists_the_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)column 'weather' is missing.*wave, label"):
        draft_job(make_waves(30).drop("id"), tmp_path, target="weather")


def test_months_in_texts_are_the_time_of_a_forecast(tmp_path: Path) -> None:
    frame = make_seasonal(144).select(pl.col("day").dt.strftime("%Y-%m"), "sold")

    job = draft_job(frame, tmp_path)

    assert (job.source.time, job.source.parse) == ("day", {"day": "%Y-%m"})
    assert (job.target.column, job.target.kind) == ("sold", "forecast")
    assert job.layout.input.columns == ("sold",)


def test_a_drafted_forecast_passes_the_check(tmp_path: Path) -> None:
    frame = make_seasonal(144).select(pl.col("day").dt.strftime("%d.%m.%Y"), "sold")

    result = check_job(draft_job(frame, tmp_path))

    assert result["training"] > 0
    assert result["test"] > 0


def test_the_season_gives_lookback_horizon_and_baseline(tmp_path: Path) -> None:
    job = draft_job(make_seasonal(144), tmp_path)

    assert job.gate.season_length == 12
    assert job.window is not None
    assert (job.window.lookback, job.window.horizon) == (24, 12)


def test_without_a_season_the_next_step_is_forecast(tmp_path: Path) -> None:
    walk = np.random.default_rng(1).normal(size=400).cumsum()
    frame = make_seasonal(400).with_columns(sold=pl.Series(walk))

    job = draft_job(frame, tmp_path)

    assert job.gate.season_length == 1
    assert job.window is not None
    assert (job.window.lookback, job.window.horizon) == (28, 1)


def test_horizon_and_season_can_be_given(tmp_path: Path) -> None:
    job = draft_job(make_seasonal(300, step="1d"), tmp_path, horizon=3, season=7)

    assert job.gate.season_length == 7
    assert job.window is not None
    assert (job.window.lookback, job.window.horizon) == (14, 3)


def test_a_horizon_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)--horizon: 90 steps do not fit.*19 steps"):
        draft_job(make_seasonal(100), tmp_path, horizon=90)


def test_whole_steps_are_the_time_of_a_table_without_dates(tmp_path: Path) -> None:
    frame = make_seasonal(200).select(pl.int_range(pl.len()).alias("step"), "sold")

    files = draft_files(frame, tmp_path)

    assert load_job(files.job).source.time == "step"
    assert "'step' has whole numbers that rise evenly" in files.notes[0]


def test_whole_steps_within_each_series_are_the_time(tmp_path: Path) -> None:
    step = pl.int_range(pl.len()).alias("step")
    shops = [make_seasonal(60).select(pl.lit(shop).alias("shop"), step, "sold") for shop in "ab"]

    job = draft_job(pl.concat(shops), tmp_path)

    assert (job.source.time, job.source.entity) == ("step", "shop")
    assert job.inputs[0].scale_per == "entity"


def test_the_test_part_of_each_series_is_the_horizon(tmp_path: Path) -> None:
    step = pl.int_range(pl.len()).alias("step")
    split = pl.when(step >= 75).then(pl.lit("test")).otherwise(pl.lit("train")).alias("split")
    shops = [
        make_seasonal(80).select(pl.lit(shop).alias("shop"), step, split, "sold") for shop in "abc"
    ]

    job = draft_job(pl.concat(shops), tmp_path)

    assert job.split.column == "split"
    assert job.window is not None
    assert job.window.horizon == 5


def test_all_numbers_of_a_wide_table_are_inputs(tmp_path: Path) -> None:
    frame = make_seasonal(144).with_columns(price=pl.col("sold") * 2, heat=pl.col("sold") + 1)

    files = draft_files(frame, tmp_path, target="price")
    job = load_job(files.job)

    assert job.target.column == "price"
    assert job.layout.input.columns == ("sold", "price", "heat")
    assert "all other columns of numbers (2) are inputs" in files.job.read_text(encoding="utf-8")


def test_days_that_could_be_months_are_asked_for(tmp_path: Path) -> None:
    frame = make_seasonal(12).select(pl.col("day").dt.strftime("%d/%m/%Y"), "sold")

    with pytest.raises(DataError, match=r"(?s)day and month cannot be told apart.*--time-format"):
        draft_job(frame, tmp_path)
    job = draft_job(frame, tmp_path, time="day", time_format="%d/%m/%Y")
    assert job.source.parse == {"day": "%d/%m/%Y"}


def test_a_person_at_the_terminal_chooses_the_format(tmp_path: Path) -> None:
    frame = make_seasonal(12).select(pl.col("day").dt.strftime("%d/%m/%Y"), "sold")

    job = draft_job(frame, tmp_path, ask=lambda _, choices: choices[1])

    assert job.source.parse == {"day": "%m/%d/%Y"}


def test_numbers_in_texts_are_numbers(tmp_path: Path) -> None:
    frame = make_waves(94).with_columns(label=(pl.col("id") / 2).cast(pl.String))

    job = draft_job(frame, tmp_path)

    assert (job.target.column, job.target.kind) == ("label", "number")
    assert job.source.parse == {"label": "number"}


def test_title_and_body_are_joined_the_shorter_first(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "body": [f"a long text of number {row} and much more" for row in range(200)],
            "title": [f"short {row} news" for row in range(200)],
            "link": [f"https://example.org/a-b-c/{row}" for row in range(200)],
            "label": ["x", "y"] * 100,
        }
    )

    files = draft_files(frame, tmp_path)
    job = load_job(files.job)

    assert job.layout.input.columns == ("title", "body")
    assert job.target.column == "label"
    assert "not read: link" in files.notes[0]
    assert "read one after the other" in files.job.read_text(encoding="utf-8")
    assert check_job(job)["unreadable"] == 0


def test_a_text_that_has_to_be_the_target_is_not_joined(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "english": [f"a text of number {row} here" for row in range(200)],
            "french": [f"un texte du nombre {row} ici" for row in range(200)],
        }
    )

    job = draft_job(frame, tmp_path)

    assert (job.layout.input.columns, job.target.column) == (("english",), "french")
    assert job.target.kind == "text"


def test_rows_with_a_time_are_split_by_time(tmp_path: Path) -> None:
    days = pl.date_range(date(2024, 1, 1), date(2024, 7, 18), eager=True)
    frame = pl.DataFrame(
        {
            "day": days,
            "text": [f"a text of number {row} and more" for row in range(200)],
            "label": ["x", "y"] * 100,
        }
    )

    job = draft_job(frame, tmp_path)

    assert (job.inputs[0].kind, job.split.by, job.source.time) == ("text", "time", "day")


def test_few_test_rows_are_warned_of(tmp_path: Path) -> None:
    files = draft_files(make_waves(200), tmp_path)

    assert "the test split has about 40 rows" in files.notes[-1]


def test_long_lists_are_shortened(tmp_path: Path) -> None:
    waves = [list(np.sin(np.arange(100) / (3 + row))) for row in range(30)]
    frame = pl.DataFrame({"wave": waves, "label": ["x", "y"] * 15})

    assert draft_job(frame, tmp_path).model.downsample == 4
    assert draft_job(make_waves(30), tmp_path, name="short").model.downsample == "auto"


def test_a_key_is_not_the_target(tmp_path: Path) -> None:
    frame = make_waves(80).select("wave", "label", pl.int_range(80).alias("number"))

    assert draft_job(frame.rename({"label": "size"}), tmp_path).target.column == "size"


def test_a_column_that_may_group_rows_is_named(tmp_path: Path) -> None:
    frame = make_waves(200).with_columns(patient=pl.Series(["a", "b", "c", "d"] * 50))

    files = draft_files(frame, tmp_path, target="label")

    assert "add split: {by: hash, group: patient}" in files.notes[0]


def test_the_calendar_tells_a_season_that_is_too_long_to_read(tmp_path: Path) -> None:
    job = draft_job(make_seasonal(1_500, season=365, step="1d"), tmp_path)

    assert job.gate.season_length == 365
    assert job.inputs[0].calendar == ("day_of_year",)
    assert job.window is not None
    assert job.window.horizon == 24


def test_a_flag_is_an_input_of_a_forecast(tmp_path: Path) -> None:
    frame = make_seasonal(144).with_columns(holiday=pl.int_range(pl.len()) % 5 == 0)

    job = draft_job(frame, tmp_path)

    assert job.target.column == "sold"
    assert job.layout.input.columns == ("sold", "holiday")
    assert check_job(job)["test"] > 0


def test_the_past_of_a_predicted_flag_is_an_input(tmp_path: Path) -> None:
    frame = make_seasonal(144).with_columns(holiday=pl.int_range(pl.len()) % 5 == 0)

    job = draft_job(frame, tmp_path, target="holiday")

    assert job.target.kind == "category"
    assert (job.layout.input.observed, job.layout.input.categories) == (("sold",), ("holiday",))


def test_the_past_of_a_predicted_class_is_an_input(tmp_path: Path) -> None:
    sky = ["sun", "rain", "fog"] * 48
    frame = make_seasonal(144).with_columns(sky=pl.Series(sky), wind=pl.Series(["n", "s"] * 72))

    files = draft_files(frame, tmp_path, target="sky")
    job = load_job(files.job)

    assert (job.layout.input.observed, job.layout.input.categories) == (("sold",), ("sky", "wind"))
    assert "the past classes of 'sky' are channels too" in files.job.read_text(encoding="utf-8")
    assert check_job(job)["test"] > 0


def test_classes_alone_are_read_as_windows(tmp_path: Path) -> None:
    days = pl.date_range(date(2024, 1, 1), date(2024, 12, 31), eager=True)
    frame = pl.DataFrame({"day": days}).with_columns(
        state=pl.Series((["on", "off", "off"] * 122)[: len(days)])
    )

    job = draft_job(frame, tmp_path)

    assert (job.target.column, job.target.kind) == ("state", "category")
    assert check_job(job)["test"] > 0


def test_all_numbers_of_a_wide_table_are_forecast_together(tmp_path: Path) -> None:
    frame = make_seasonal(144).with_columns(
        returned=pl.col("sold") * 0.1, weekday=pl.int_range(pl.len()) % 7
    )

    files = draft_files(frame, tmp_path)

    job = load_job(files.job)
    assert job.target.columns == ("sold", "returned")
    assert job.layout.input.columns == ("sold", "returned", "weekday")
    assert job.gate.season_length == 12
    assert "for one alone write column: returned" in files.job.read_text()
    assert check_job(job)["test"] > 0


@pytest.mark.parametrize(
    "change",
    [
        {"sold": "y"},  # named like a target
        {"weekday": "label"},  # has classes
    ],
)
def test_a_column_that_stands_out_is_predicted_alone(
    tmp_path: Path, change: dict[str, str]
) -> None:
    codes = pl.Series(["low", "high"] * 72)
    frame = make_seasonal(144).with_columns(returned=pl.col("sold") * 0.1, weekday=codes)

    job = draft_job(frame.rename(change), tmp_path)

    assert len(job.target.columns) == 1
    assert job.target.name in {"y", "label", "weekday"}


@pytest.mark.parametrize(
    "options", [{"target": "sold,returned"}, {"targets": ("sold", "returned")}]
)
def test_several_targets_are_forecast_together(tmp_path: Path, options: dict[str, Any]) -> None:
    frame = make_seasonal(144).with_columns(returned=pl.col("sold") * 0.1, price=pl.col("sold") + 1)

    job = draft_job(frame, tmp_path, **options)

    assert (job.target.columns, job.target.kind) == (("sold", "returned"), "forecast")
    assert job.layout.input.columns == ("sold", "returned", "price")


def test_a_missing_column_among_several_targets_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--target: column 'bought' is missing"):
        draft_job(make_seasonal(144), tmp_path, target="bought,sold")


def test_a_text_among_several_targets_is_refused(tmp_path: Path) -> None:
    frame = make_seasonal(144).with_columns(shop=pl.lit("Graz"))

    with pytest.raises(DataError, match=r"(?s)--target: 'shop' cannot be forecast .*one column"):
        draft_job(frame, tmp_path, target="sold,shop")


def test_a_time_without_a_known_format_is_refused(tmp_path: Path) -> None:
    frame = make_seasonal(144).select(pl.lit("soon").alias("day"), "sold")

    with pytest.raises(DataError, match=r"(?s)--time: column 'day' does not order.*--time-format"):
        draft_job(frame, tmp_path, time="day")
