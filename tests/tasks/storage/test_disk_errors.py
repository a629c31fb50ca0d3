"""A full disk, a quota or a limit of file sizes is an error of the store, whatever met it."""

import errno
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from tasks.errors import SourceError, StoreError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.disk_errors import build_disk_error
from tasks.storage.store import (
    Store,
    StoreConfig,
    create_exclusively,
    open_staging_dir,
    open_store,
    write_bytes,
)
from tasks.tracking.mlflow_client import open_client, open_experiment, translate_mlflow_errors

ROWS = 20_000


@contextmanager
def limit_file_size(size: int) -> Iterator[None]:
    """Let the operating system refuse to write files beyond a size in bytes (EFBIG)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(StoreConfig(uri=str(tmp_path / "store")))


@pytest.fixture
def frame() -> pl.DataFrame:
    numbers = np.random.default_rng(1).normal(size=ROWS)
    return pl.DataFrame({"number": numbers, "name": [f"{number:.9f}" for number in numbers]})


def write_source(frame: pl.DataFrame, folder: Path, kind: str) -> SourceConfig:
    """Write the rows as a source of a kind."""
    path = folder / f"rows.{kind}"
    if kind == "db":
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("CREATE TABLE rows (number REAL, name TEXT)")
            database.executemany("INSERT INTO rows VALUES (?, ?)", frame.iter_rows())
        return SourceConfig(uri=f"sqlite:///{path}", query="rows")
    writers = {
        "parquet": frame.write_parquet,
        "csv": frame.write_csv,
        "jsonl": frame.write_ndjson,
        "arrow": frame.write_ipc,
    }
    writers[kind](path)
    return SourceConfig(uri=str(path))


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "arrow", "db"])
def test_a_snapshot_that_may_not_be_written_is_not_blamed_on_the_source(
    kind: str, frame: pl.DataFrame, store: Store, tmp_path: Path
) -> None:
    source = write_source(frame, tmp_path, kind)

    with limit_file_size(50_000), pytest.raises(StoreError) as caught:
        take_snapshot(source, store)

    assert "File too large" in str(caught.value)
    assert "ulimit -f" in str(caught.value)
    assert caught.value.exit_code == 7
    assert not list(Path(store.root).glob("*/*/manifest.json"))
    assert not list(Path(store.root).glob(".staging/*"))
    assert take_snapshot(source, store).facts.rows == ROWS


def test_a_damaged_source_is_still_blamed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 no such file PAR1")

    with pytest.raises(SourceError, match="cannot be read as parquet"):
        take_snapshot(SourceConfig(uri=str(tmp_path / "rows.parquet")), store)


def test_small_files_of_the_store_tell_of_the_limit_too(store: Store) -> None:
    with limit_file_size(10), pytest.raises(StoreError, match="File too large"):
        write_bytes(store, "state.json", b"x" * 100)
    with limit_file_size(10), pytest.raises(StoreError, match="File too large"):
        create_exclusively(store, "entry.json", b"x" * 100)

    assert not list(Path(store.root).glob("*"))


def test_a_database_of_mlflow_that_may_not_grow_is_an_error_of_the_store(home: Path) -> None:
    open_experiment("before", None)
    size = (home / ".ostinato" / "mlflow" / "mlflow.db").stat().st_size

    with limit_file_size(size // 2), pytest.raises(StoreError) as caught:
        open_experiment("after", None)

    assert "mlflow.db" in str(caught.value)
    assert "disk I/O error" in str(caught.value)
    assert "ulimit -f" in str(caught.value)
    assert "sqlalche.me" not in str(caught.value), "no lines for programmers"
    open_experiment("after", None)


def test_a_first_database_of_mlflow_that_may_not_be_written_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "mlflow" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")

    with (
        limit_file_size(100_000),
        pytest.raises(StoreError, match="ulimit -f"),
        translate_mlflow_errors(),
    ):
        open_client()

    assert not list(database.parent.glob("*"))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "quota"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only"),
        (pl.exceptions.ComputeError("No space left on device (os error 28)"), "No space left"),
        (pa.ArrowInvalid("error writing: [Errno 122] Disk quota exceeded"), "quota"),
        (
            pa.ArrowInvalid("Error writing bytes to file. Detail: [errno 5] Input/output error"),
            "Input/output error",
        ),
        (sqlite3.OperationalError("database or disk is full"), "database or disk is full"),
        (sqlite3.OperationalError("attempt to write a readonly database"), "readonly database"),
    ],
)
def test_what_the_disk_refuses_is_found_in_every_library_and_cause(
    error: Exception, reason: str, store: Store
) -> None:
    outer = RuntimeError("a library's own words")
    outer.__cause__ = error
    found = build_disk_error(outer, where="here")

    assert found is not None
    assert reason in str(found)
    assert "Hint: " in str(found)
    with pytest.raises(StoreError, match="the store cannot write to"), open_staging_dir(store):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("28 rows"),
        FileNotFoundError(errno.ENOENT, "No such file"),
        OSError(errno.EIO, "Input/output error"),
        sqlite3.OperationalError("no such table: rows"),
        SourceError("the source's disk: No space left on device (os error 28)"),
    ],
)
def test_other_errors_are_no_errors_of_the_disk(error: Exception, store: Store) -> None:
    assert build_disk_error(error, where="here") is None
    with pytest.raises(type(error)), open_staging_dir(store):
        raise error
