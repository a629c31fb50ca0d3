"""`init`: a job and a contract drafted from the data itself."""

from datetime import date, timedelta
from pathlib import Path

import polars as pl
import pytest

from data_contracts.contract import read_contract
from flows.commands.demo_data import make_digits
from flows.commands.init import draft_job_files
from flows.job.job import Job, load_job
from tasks.errors import DataError, JobError
from tests.support.sample_jobs import sales, waves


def drafted(frame: pl.DataFrame, folder: Path, **options: object) -> Job:
    path = folder / "data.parquet"
    frame.write_parquet(path)
    settings = {"target": None, "name": None, "folder": folder / "out", "force": False} | options
    job_path, contract_path = draft_job_files(str(path), **settings)
    contract = read_contract(contract_path)
    job = load_job(job_path)
    assert set(contract.columns) == set(job.required_columns)
    return job


def test_images_are_recognised_and_their_label_found(tmp_path: Path) -> None:
    job = drafted(make_digits().head(50), tmp_path)

    assert (job.inputs[0].kind, job.inputs[0].columns) == ("image", ("image",))
    assert (job.target.column, job.target.kind) == ("digit", "category")
    assert job.window is None


def test_lists_are_one_sequence_a_row(tmp_path: Path) -> None:
    job = drafted(waves(30), tmp_path)

    assert (job.inputs[0].kind, job.inputs[0].columns) == ("series", ("wave",))
    assert (job.target.column, job.target.kind) == ("label", "category")


def test_a_table_with_a_date_is_cut_into_windows(tmp_path: Path) -> None:
    job = drafted(sales(60), tmp_path)

    assert job.source.time == "day"
    assert job.window is not None
    assert (job.target.column, job.target.kind) == ("sales", "number")


def test_the_column_that_tells_series_apart_is_found(tmp_path: Path) -> None:
    days = [date(2024, 1, 1) + timedelta(days=place) for place in range(20)]
    shops = [sales(20).with_columns(day=pl.Series(days), shop=pl.lit(name)) for name in "ab"]

    job = drafted(pl.concat(shops), tmp_path, target="sales")

    assert job.source.entity == "shop"


def test_a_named_target_and_name_win(tmp_path: Path) -> None:
    frame = waves(30).with_columns(size=pl.col("id") * 0.5)

    job = drafted(frame, tmp_path, target="size", name="sizes")

    assert (job.name, job.target.column, job.target.kind) == ("sizes", "size", "number")


def test_nothing_is_written_over_unless_told(tmp_path: Path) -> None:
    drafted(waves(30), tmp_path)

    with pytest.raises(JobError, match=r"data\.yaml exists already"):
        drafted(waves(30), tmp_path)
    assert drafted(waves(30), tmp_path, force=True)


def test_a_table_without_sequences_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no column can be read as a sequence.*a sequence is"):
        drafted(pl.DataFrame({"a": ["x", "y"], "b": [1, 2]}), tmp_path)


def test_an_unknown_target_lists_the_columns(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)column 'weather' is missing.*wave, label"):
        drafted(waves(30).drop("id"), tmp_path, target="weather")
