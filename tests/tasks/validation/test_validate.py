"""Validation: rows that break the contract are set aside, with reasons and their place."""

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
NO_LOOK_AHEAD = Expectation(
    type="expect_column_values_to_match_regex", kwargs={"column": "name", "regex": "^(?!bad)"}
)
CONTRACT = Contract(
    name="c", columns={"id": "Int64", "x": "Float64"}, expectations=(NOT_NULL, POSITIVE, UNIQUE)
)


def table(rows: int = 1000) -> pl.DataFrame:
    return pl.DataFrame({"id": range(rows), "x": np.linspace(0, 1, rows), "name": ["good"] * rows})


def spoil(frame: pl.DataFrame, **cells: dict[int, object]) -> pl.DataFrame:
    for column, values in cells.items():
        series = frame[column].to_list()
        for row, value in values.items():
            series[row] = value
        frame = frame.with_columns(pl.Series(column, series, dtype=frame.schema[column]))
    return frame


def frozen(folder: Path, store: Store, *frames: pl.DataFrame) -> Snapshot:
    for place, frame in enumerate(frames):
        frame.write_parquet(folder / f"{place}.parquet")
    return take_snapshot(SourceConfig(uri=str(folder / "*.parquet")), store)


def quarantine(accepted: Accepted, store: Store) -> pl.DataFrame:
    return pl.read_parquet(local_dir(store, accepted) / "quarantine.parquet")


def test_bad_rows_are_set_aside_and_the_others_go_on(tmp_path: Path, local_store: Store) -> None:
    bad = spoil(table(), x={3: None, 700: -1.0}, id={5: 9})
    accepted = accept_snapshot(frozen(tmp_path, local_store, bad), CONTRACT, local_store)

    aside = quarantine(accepted, local_store)
    rest = open_rows(local_store, accepted).scan().collect()

    assert aside["__row__"].to_list() == [3, 5, 9, 700]
    assert aside["__reasons__"].to_list() == [
        ["x: expect_column_values_to_not_be_null"],
        ["id: expect_column_values_to_be_unique"],
        ["id: expect_column_values_to_be_unique"],
        ["x: expect_column_values_to_be_between(min_value=0.0)"],
    ]
    assert aside.select(bad.columns).equals(bad[[3, 5, 9, 700]])
    assert rest.equals(bad.with_row_index("n").filter(~pl.col("n").is_in([3, 5, 9, 700])).drop("n"))
    assert (accepted.facts.rows, accepted.facts.quarantined) == (996, 4)


def test_two_promises_of_one_kind_about_one_column_are_both_kept(
    tmp_path: Path, local_store: Store
) -> None:
    below = Expectation(type=POSITIVE.type, kwargs={"column": "x", "max_value": 100})
    contract = dataclasses.replace(CONTRACT, expectations=(POSITIVE, below))
    bad = spoil(table(), x={1: -1.0, 2: 200.0})

    accepted = accept_snapshot(frozen(tmp_path, local_store, bad), contract, local_store)

    assert quarantine(accepted, local_store)["__row__"].to_list() == [1, 2]
    assert open_rows(local_store, accepted).scan().collect()["x"].is_between(0, 100).all()


def test_all_that_a_contract_allows_is_allowed(tmp_path: Path, local_store: Store) -> None:
    contract = dataclasses.replace(CONTRACT, max_quarantined=0.29)
    bad = spoil(table(100), x=dict.fromkeys(range(29)))

    accepted = accept_snapshot(frozen(tmp_path, local_store, bad), contract, local_store)

    assert accepted.facts.quarantined == 29


def test_files_of_equal_content_are_told_apart(tmp_path: Path, local_store: Store) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(NOT_NULL,))
    bad = spoil(table(), x={4: None})

    accepted = accept_snapshot(frozen(tmp_path, local_store, bad, bad), contract, local_store)

    assert quarantine(accepted, local_store).select("__source__", "__source_row__").rows() == [
        (str(tmp_path / "0.parquet"), 4),
        (str(tmp_path / "1.parquet"), 4),
    ]


def test_rows_are_set_aside_for_more_reasons_without_being_others(
    tmp_path: Path, local_store: Store
) -> None:
    snapshot = frozen(tmp_path, local_store, spoil(table(), x={3: -1.0}))
    twice = Expectation(type=POSITIVE.type, kwargs={"column": "x", "min_value": -0.5})
    more = dataclasses.replace(CONTRACT, expectations=(POSITIVE, twice))

    keys = {accept_snapshot(snapshot, c, local_store).facts.rows_key for c in (CONTRACT, more)}

    assert len(keys) == 1


def test_a_bad_row_knows_its_file_and_its_place_there(tmp_path: Path, local_store: Store) -> None:
    first, second = table()[:400], spoil(table()[400:], x={7: None})
    accepted = accept_snapshot(frozen(tmp_path, local_store, first, second), CONTRACT, local_store)

    aside = quarantine(accepted, local_store)

    assert aside.select("__row__", "__source__", "__source_row__").rows() == [
        (407, str(tmp_path / "1.parquet"), 7)
    ]


def test_pandas_rules_set_rows_aside_too(tmp_path: Path, local_store: Store) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(NO_LOOK_AHEAD, NOT_NULL))
    bad = spoil(table(), name={2: "bad one"}, x={2: None, 4: None})

    accepted = accept_snapshot(frozen(tmp_path, local_store, bad), contract, local_store)

    assert quarantine(accepted, local_store)["__row__"].to_list() == [2, 4]
    assert accepted.facts.by_pandas == ["expect_column_values_to_match_regex"]


@pytest.mark.parametrize(("share", "stops"), [(0.01, True), (0.011, False)])
def test_more_bad_rows_than_the_contract_allows_stop_the_run(
    share: float, stops: bool, tmp_path: Path, local_store: Store
) -> None:
    contract = dataclasses.replace(CONTRACT, max_quarantined=share)
    snapshot = frozen(tmp_path, local_store, spoil(table(), x=dict.fromkeys(range(11))))

    if not stops:
        assert accept_snapshot(snapshot, contract, local_store).facts.quarantined == 11
        return
    with pytest.raises(ContractError, match=r"11 of 1000 rows break .*1\.00%") as caught:
        accept_snapshot(snapshot, contract, local_store)
    assert not is_transient(caught.value)
    [place] = [line for line in str(caught.value).splitlines() if line.startswith("Details: ")]
    folder = Path(place.removeprefix("Details: "))
    assert len(pl.read_parquet(folder / "quarantine.parquet")) == 11
    assert (folder / "data_docs.html").exists()
    assert not list(Path(local_store.root).glob("validate/*"))


def test_rules_that_share_the_blame_are_counted_together(
    tmp_path: Path, local_store: Store
) -> None:
    bad = spoil(table(), x=dict.fromkeys(range(6)) | dict.fromkeys(range(10, 16), -1.0))

    with pytest.raises(ContractError, match="12 of 1000 rows break"):
        accept_snapshot(frozen(tmp_path, local_store, bad), CONTRACT, local_store)


def test_a_warning_is_told_and_its_rows_go_on(tmp_path: Path, local_store: Store) -> None:
    warning = dataclasses.replace(POSITIVE, severity="warning")
    contract = dataclasses.replace(CONTRACT, expectations=(warning,))

    accepted = accept_snapshot(
        frozen(tmp_path, local_store, spoil(table(), x={3: -1.0})), contract, local_store
    )

    assert (accepted.facts.rows, accepted.facts.broken) == (1000, 1)
    assert "1 of 1000 values break it, such as -1.0" in accepted.facts.warnings


def test_what_mostly_allows_is_not_set_aside(tmp_path: Path, local_store: Store) -> None:
    lenient = Expectation(type=NOT_NULL.type, kwargs={"column": "x", "mostly": 0.5})
    contract = dataclasses.replace(CONTRACT, expectations=(lenient,))
    snapshot = frozen(tmp_path, local_store, spoil(table(), x=dict.fromkeys(range(100))))

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
def test_a_broken_promise_about_the_table_stops(
    expectation: Expectation, tmp_path: Path, local_store: Store
) -> None:
    contract = dataclasses.replace(CONTRACT, expectations=(expectation,), max_quarantined=1.0)

    with pytest.raises(ContractError, match="the data breaks contract 'c'"):
        accept_snapshot(frozen(tmp_path, local_store, table()), contract, local_store)


def test_a_validator_that_breaks_is_not_bad_data(tmp_path: Path, local_store: Store) -> None:
    wrong = Expectation(type=POSITIVE.type, kwargs={"column": "name", "min_value": 0})
    contract = dataclasses.replace(CONTRACT, expectations=(wrong,))

    with pytest.raises(ValidatorError, match="says nothing about the data") as caught:
        accept_snapshot(frozen(tmp_path, local_store, table()), contract, local_store)
    assert is_transient(caught.value)


def test_a_contract_that_asks_for_the_impossible_is_its_owners_fault(
    tmp_path: Path, local_store: Store
) -> None:
    wrong = Expectation(type="expect_the_unexpected", kwargs={})
    contract = dataclasses.replace(CONTRACT, expectations=(wrong,))

    with pytest.raises(JobError, match="expect_the_unexpected"):
        accept_snapshot(frozen(tmp_path, local_store, table()), contract, local_store)


def test_the_findings_are_kept_as_data_and_as_a_page(tmp_path: Path, local_store: Store) -> None:
    accepted = accept_snapshot(frozen(tmp_path, local_store, table()), CONTRACT, local_store)
    folder = local_dir(local_store, accepted)

    findings = json.loads((folder / "validation.json").read_text(encoding="utf-8"))
    page = (folder / "data_docs.html").read_text(encoding="utf-8")

    assert [finding["passed"] for finding in findings] == [True] * 5
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "<link" not in page
    assert page.count("values must be") >= 2


def test_a_reworded_contract_leaves_the_same_rows(tmp_path: Path, local_store: Store) -> None:
    snapshot = frozen(tmp_path, local_store, spoil(table(), x={3: None}))
    stricter = dataclasses.replace(CONTRACT, expectations=(NOT_NULL, POSITIVE))

    keys = {accept_snapshot(snapshot, c, local_store).facts.rows_key for c in (CONTRACT, stricter)}

    assert len(keys) == 1


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 300), max_size=4),
    aside=st.sets(st.integers(0, 299), max_size=8),
)
def test_frames_depend_on_the_rows_and_not_on_their_parts(
    cuts: list[int], aside: set[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = table(300)
    folder = tmp_path_factory.mktemp("parts")
    edges = sorted({0, 300, *cuts})
    paths = []
    for start, stop in itertools.pairwise(edges):
        paths.append(folder / f"{start:03}.parquet")
        frame[start:stop].write_parquet(paths[-1])
    without = np.array(sorted(aside), np.uint32)

    frames = list(RowSet(tuple(paths), frame.schema, None, without).iter_frames(["x", "id"]))

    expected = frame.select("x", "id").with_row_index("n").filter(~pl.col("n").is_in(list(aside)))
    assert pl.concat(frames).equals(expected.drop("n"))
