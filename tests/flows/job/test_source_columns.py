"""Misspelt columns of a job are refused before anything is trained, with their keys."""

from pathlib import Path

import polars as pl
import pytest

from flows.commands.check import check_job
from flows.job.job import Job, load_job
from flows.job.source_columns import check_source_columns
from tasks.errors import JobError
from tests.support.sample_jobs import write_job

NO = "the source has no column"

COLUMNS = ["day", "shop", "city", "kw", "label"]


def load_shop_job(folder: Path, **sections: dict[str, object]) -> Job:
    job = {
        "name": "shops",
        "source": {"uri": str(folder / "w.parquet"), "time": "day"} | sections.pop("source", {}),
        "inputs": [{"column": "kw", "kind": "series"}],
        "target": {"column": "label", "kind": "category"},
        "window": {"lookback": 3, "horizon": 1},
        "contract": str(folder / "contract.yaml"),
        "store": {"uri": str(folder / "store")},
        **sections,
    }
    return load_job(write_job(folder, job))


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"source": {"time": "dya"}}, f"source.time: {NO} 'dya'; did you mean 'day'?"),
        ({"source": {"watermark": "seen"}}, f"source.watermark: {NO} 'seen'"),
        ({"source": {"entity": "shops"}}, f"source.entity: {NO} 'shops'; did you mean 'shop'?"),
        ({"split": {"group": "ctiy"}}, f"split.group: {NO} 'ctiy'; did you mean 'city'?"),
        ({"split": {"id": "row"}}, f"split.id: {NO} 'row'"),
        ({"evaluation": {"slices": ["city", "town"]}}, f"evaluation.slices: {NO} 'town'"),
    ],
)  # fmt: skip
def test_a_misspelt_column_is_named_with_its_key(sections, line: str, tmp_path: Path) -> None:
    with pytest.raises(JobError) as refused:
        check_source_columns(load_shop_job(tmp_path, **sections), COLUMNS, ())

    assert str(refused.value).splitlines()[0] == line
    assert "It has: day, shop, city, kw, label" in str(refused.value)


def test_a_column_that_the_contract_promises_is_left_to_the_contract(tmp_path: Path) -> None:
    job = load_shop_job(tmp_path, evaluation={"slices": ["town"]})

    check_source_columns(job, COLUMNS, {"town"})
    check_source_columns(load_shop_job(tmp_path), COLUMNS, ())


def test_check_refuses_it_before_it_drafts_a_contract(tmp_path: Path) -> None:
    pl.DataFrame({name: [1, 2, 3] for name in COLUMNS}).write_parquet(tmp_path / "w.parquet")
    job = load_shop_job(tmp_path, evaluation={"slices": ["town"]})

    with pytest.raises(JobError, match=r"evaluation\.slices"):
        check_job(job)

    assert not (tmp_path / "contract.yaml").exists()
