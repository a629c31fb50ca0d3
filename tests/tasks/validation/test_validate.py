"""Validation: rows that break the contract are quarantined, with reasons, file and row."""

import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_contracts.contract import Contract, Expectation
from tasks.dataset.rowset import RowSet, open_rows
from tasks.errors import ContractError, JobError, ValidatorError, is_transient
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.records import Accepted, Snapshot
from tasks.storage.artifacts import local_dir
from tasks.storage.store import Store
from tasks.validation.validate import accept_snapshot

NOT_NULL = Expectation(type="expect_column_values_to_not_be_null", kwargs={"column": "x"})
POSITIVE = Expectation(
    type="expect_column_values_to_be_between", kwargs={"column": "x", "min_value": 0}
)
UNIQUE = Expectation(type="expect_column_values_to_be_unique", kwargs={"column": "id"})
NO_BAD_NAME = Expectation(
    type="expect_column_values_to_match_regex", kwargs={"column": "name", "regex": "^(?!bad)"}
)
CONTRACT = Contract(
    name="c", columns={"id": "Int64", "x": "Float64"}, expectations=(NOT_NULL, POSITIVE, UNIQUE)
)


def build_table(rows: int = 1000) -> pl.DataFrame:
    return pl.DataFrame({"id": range(rows), "x": np.linspace(0, 1, rows), "name": ["good"] * rows})


def replace_cells(frame: pl.DataFrame, **cells: dict[int, object]) -> pl.DataFrame:
    for column, values in cells.items():
        series = frame[column].to_list()
        for row, value in values.items():
            series[row] = value
        frame = frame.with_columns(pl.Series(column, series, dtype=frame.schema[column]))
    return frame


def take_frames(folder: Path, store: Store, *frames: pl.DataFrame) -> Snapshot:
    for index, frame in enumerate(frames):
        frame.write_parquet(folder / f"{index}.parquet")
    return take_snapshot(SourceConfig(uri=str(folder / "*.parquet")), store)


def read_quarantine(accepted: Accepted, store: Store) -> pl.DataFrame:
    return pl.read_parquet(local_dir(store, accepted) / "quarantine.parquet")


def test_rows_that_break_the_contract_are_quarantined(tmp_path: Path, local_store: Store) -> None:
    bad = replace_cells(build_table(), x={3: None, 700: -1.0}, id={5: 9})
    accepted = accept_snapshot(take_frames(tmp_path, local_store, bad), CONTRACT, local_store)

    quarantined = read_quarantine(accepted, local_store)
    remaining = open_rows(local_store, accepted).scan().collect()

    assert quarantined["__row__"].to_list() == [3, 5, 9, 700]
    assert quarantined["__reasons__"].to_list() == [
        ["x: expect_column_values_to_not_be_null"],
        ["id: expect_column_values_to_be_unique"],
        ["id: expect_column_values_to_be_unique"],
        ["x: expect_column_values_to_be_between(min_value=0.0)"],
    ]
    assert quarantined.select(bad.columns).equals(bad[[3, 5, 9, 700]])
    assert remaining.equals(
        bad.with_row_index("n").filter(~pl.col("n").is_in([3, 5, 9, 700])).drop("n")
    )
    assert (accepted.facts.rows, accepted.facts.quarantined) == (996, 4)


def test_two_expectations_of_one_type_about_one_column_are_both_checked(
    tmp_path: Path, local_store: Store
) -> None:
    below = Expectation(type=POSITIVE.type, kwargs={"column": "x", "max_value": 100})
    contract = dataclasses.replace(CONTRACT, expectations=(POSITIVE, below))
    bad = replace_cells(build_table(), x={1: -1.0, 2: 200.0})

    accepted = accept_snapshot(take_frames(tmp_path, local_store, bad), contract, local_store)

    assert read_quarantine(accepted, local_store)["__row__"].to_list() == [1, 2]
    assert open_rows(local_store, accepted).scan().collect()["x"].is_between(0, 100).all()


def test_exactly_the_allowed_share_may_be_quarantined(tmp_path: Path, local_store: Store) -> None:
    contract = dataclasses.replace(CONTRACT, max_quarantined=0.29)
    bad = replace_cells(build_table(100), x=dict.fromkeys(range(29)))

    accepted = accept_snapshot(take_frames(tmp_path, local_store, bad), contract, local_store)

    assert accepted.facts.quarantined == 29


def test_quarantined_rows_of_files_of_equal_content_have_different_sources(
    tmp_path: Path, local_store: Store
) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(NOT_NULL,))
    bad = replace_cells(build_table(), x={4: None})

    accepted = accept_snapshot(take_frames(tmp_path, local_store, bad, bad), contract, local_store)

    assert read_quarantine(accepted, local_store).select("__source__", "__source_row__").rows() == [
        (str(tmp_path / "0.parquet"), 4),
        (str(tmp_path / "1.parquet"), 4),
    ]


def test_more_reasons_for_the_same_rows_do_not_change_the_key_of_the_rows(
    tmp_path: Path, local_store: Store
) -> None:
    snapshot = take_frames(tmp_path, local_store, replace_cells(build_table(), x={3: -1.0}))
    twice = Expectation(type=POSITIVE.type, kwargs={"column": "x", "min_value": -0.5})
    more = dataclasses.replace(CONTRACT, expectations=(POSITIVE, twice))

    keys = {accept_snapshot(snapshot, c, local_store).facts.rows_key for c in (CONTRACT, more)}

    assert len(keys) == 1


def test_a_quarantined_row_has_its_file_and_its_row_there(
    tmp_path: Path, local_store: Store
) -> None:
    first, second = build_table()[:400], replace_cells(build_table()[400:], x={7: None})
    accepted = accept_snapshot(
        take_frames(tmp_path, local_store, first, second), CONTRACT, local_store
    )

    quarantined = read_quarantine(accepted, local_store)

    assert quarantined.select("__row__", "__source__", "__source_row__").rows() == [
        (407, str(tmp_path / "1.parquet"), 7)
    ]


def test_expectations_run_by_pandas_quarantine_rows_too(tmp_path: Path, local_store: Store) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(NO_BAD_NAME, NOT_NULL))
    bad = replace_cells(build_table(), name={2: "bad one"}, x={2: None, 4: None})

    accepted = accept_snapshot(take_frames(tmp_path, local_store, bad), contract, local_store)

    assert read_quarantine(accepted, local_store)["__row__"].to_list() == [2, 4]
    assert accepted.facts.by_pandas == ["expect_column_values_to_match_regex"]


@pytest.mark.parametrize(("share", "stops"), [(0.01, True), (0.011, False)])
def test_more_quarantined_rows_than_allowed_stop_the_run(
    share: float, stops: bool, tmp_path: Path, local_store: Store
) -> None:
    contract = dataclasses.replace(CONTRACT, max_quarantined=share)
    snapshot = take_frames(
        tmp_path, local_store, replace_cells(build_table(), x=dict.fromkeys(range(11)))
    )

    if not stops:
        assert accept_snapshot(snapshot, contract, local_store).facts.quarantined == 11
        return
    with pytest.raises(ContractError, match=r"11 of 1000 rows break .*1\.00%") as caught:
        accept_snapshot(snapshot, contract, local_store)
    assert not is_transient(caught.value)
    [details] = [line for line in str(caught.value).splitlines() if line.startswith("Details: ")]
    folder = Path(details.removeprefix("Details: "))
    assert len(pl.read_parquet(folder / "quarantine.parquet")) == 11
    assert (folder / "data_docs.html").exists()
    assert not list(Path(local_store.root).glob("validate/*"))


def test_quarantined_rows_of_several_expectations_are_counted_together(
    tmp_path: Path, local_store: Store
) -> None:
    bad = replace_cells(
        build_table(), x=dict.fromkeys(range(6)) | dict.fromkeys(range(10, 16), -1.0)
    )

    with pytest.raises(ContractError, match="12 of 1000 rows break"):
        accept_snapshot(take_frames(tmp_path, local_store, bad), CONTRACT, local_store)


def test_rows_that_break_a_warning_are_reported_and_accepted(
    tmp_path: Path, local_store: Store
) -> None:
    warning = dataclasses.replace(POSITIVE, severity="warning")
    contract = dataclasses.replace(CONTRACT, expectations=(warning,))

    accepted = accept_snapshot(
        take_frames(tmp_path, local_store, replace_cells(build_table(), x={3: -1.0})),
        contract,
        local_store,
    )

    assert (accepted.facts.rows, accepted.facts.broken) == (1000, 1)
    assert "1 of 1000 values break it, such as -1.0" in accepted.facts.warnings


def test_rows_that_mostly_allows_are_not_quarantined(tmp_path: Path, local_store: Store) -> None:
    lenient = Expectation(type=NOT_NULL.type, kwargs={"column": "x", "mostly": 0.5})
    contract = dataclasses.replace(CONTRACT, expectations=(lenient,))
    snapshot = take_frames(
        tmp_path, local_store, replace_cells(build_table(), x=dict.fromkeys(range(100)))
    )

    assert accept_snapshot(snapshot, contract, local_store).facts.rows == 1000


@pytest.mark.parametrize(
    "expectation",
    [
        Expectation(type="expect_table_row_count_to_be_between", kwargs={"min_value": 2000}),
        Expectation(
            type="expect_column_mean_to_be_between", kwargs={"column": "x", "min_value": 5}
        ),
    ],
)
def test_a_broken_expectation_about_the_table_stops_the_run(
    expectation: Expectation, tmp_path: Path, local_store: Store
) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(expectation,), max_quarantined=1.0)

    with pytest.raises(ContractError, match="the data breaks contract 'c'"):
        accept_snapshot(take_frames(tmp_path, local_store, build_table()), contract, local_store)


def test_an_error_of_the_validator_is_not_a_contract_error(
    tmp_path: Path, local_store: Store
) -> None:
    wrong = Expectation(type=POSITIVE.type, kwargs={"column": "name", "min_value": 0})
    contract = dataclasses.replace(CONTRACT, expectations=(wrong,))

    with pytest.raises(ValidatorError, match="says nothing about the data") as caught:
        accept_snapshot(take_frames(tmp_path, local_store, build_table()), contract, local_store)
    assert is_transient(caught.value)


def test_an_unknown_expectation_is_an_error_of_the_job(tmp_path: Path, local_store: Store) -> None:
    wrong = Expectation(type="expect_the_unexpected", kwargs={})
    contract = dataclasses.replace(CONTRACT, expectations=(wrong,))

    with pytest.raises(JobError, match="expect_the_unexpected"):
        accept_snapshot(take_frames(tmp_path, local_store, build_table()), contract, local_store)


def test_the_findings_are_written_as_json_and_as_a_page(tmp_path: Path, local_store: Store) -> None:
    accepted = accept_snapshot(
        take_frames(tmp_path, local_store, build_table()), CONTRACT, local_store
    )
    folder = local_dir(local_store, accepted)

    findings = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    page = (folder / "data_docs.html").read_text(encoding="utf-8")

    assert [finding["passed"] for finding in findings] == [True] * 5
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<link" not in page
    assert page.count("values must be") >= 2


def test_a_changed_contract_with_the_same_rows_has_the_same_key_of_the_rows(
    tmp_path: Path, local_store: Store
) -> None:
    snapshot = take_frames(tmp_path, local_store, replace_cells(build_table(), x={3: None}))
    stricter = dataclasses.replace(CONTRACT, expectations=(NOT_NULL, POSITIVE))

    keys = {accept_snapshot(snapshot, c, local_store).facts.rows_key for c in (CONTRACT, stricter)}

    assert len(keys) == 1


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 300), max_size=4),
    quarantined=st.sets(st.integers(0, 299), max_size=8),
)
def test_frames_do_not_depend_on_the_parts_of_the_rows(
    cuts: list[int], quarantined: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = build_table(300)
    folder = tmp_path_factory.mktemp("parts")
    edges = sorted({0, 300, *cuts})
    paths = []
    for start, stop in itertools.pairwise(edges):
        paths.append(folder / f"{start:03}.parquet")
        frame[start:stop].write_parquet(paths[-1])
    quarantined_R = np.array(sorted(quarantined), np.uint32)

    frames = list(RowSet(tuple(paths), frame.schema, None, quarantined_R).iter_frames(["x", "id"]))

    expected = (
        frame.select("x", "id").with_row_index("n").filter(~pl.col("n").is_in(list(quarantined)))
    )
    assert pl.concat(frames).equals(expected.drop("n"))
