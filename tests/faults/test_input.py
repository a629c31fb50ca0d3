"""Broken input on the command line: a clear message, its exit code, no partial artifact."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.support.sample_jobs import WAVES, Pages, make_waves, run_ostinato, write_job

VALID_WAVES = make_waves(120)

BreakInput = Callable[[Path], None]


def write_corrupt_file(folder: Path) -> None:
    path = folder / "data.parquet"
    VALID_WAVES.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])


def write_empty_file(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"")


def write_no_rows(folder: Path) -> None:
    VALID_WAVES.clear().write_parquet(folder / "data.parquet")


def write_no_file(folder: Path) -> None:
    assert not (folder / "data.parquet").exists()


def drop_column(folder: Path) -> None:
    VALID_WAVES.drop("wave").write_parquet(folder / "data.parquet")


def change_type(folder: Path) -> None:
    VALID_WAVES.with_columns(wave=pl.lit("text")).write_parquet(folder / "data.parquet")


def write_one_class(folder: Path) -> None:
    VALID_WAVES.with_columns(label=pl.lit("same")).write_parquet(folder / "data.parquet")


def remove_targets(folder: Path) -> None:
    broken = pl.when(pl.col("id") < 5).then(None).otherwise(pl.col("label"))
    VALID_WAVES.with_columns(label=broken).write_parquet(folder / "data.parquet")


def write_nan_targets(folder: Path) -> None:
    number = pl.when(pl.col("id") < 5).then(float("nan")).otherwise(pl.col("id").cast(float))
    VALID_WAVES.with_columns(label=number).write_parquet(folder / "data.parquet")


NUMBER = {"target": {"column": "label", "kind": "number"}}

CASES: dict[str, tuple[BreakInput, dict[str, object], int, str]] = {
    "a corrupt file": (write_corrupt_file, {}, 3, "data.parquet cannot be read as parquet"),
    "an empty file": (write_empty_file, {}, 3, "the file is empty"),
    "no rows": (write_no_rows, {}, 3, "columns but no rows"),
    "a missing file": (write_no_file, {}, 3, "names no file"),
    "a missing column": (drop_column, {}, 4, "lacks columns that the job reads: wave"),
    "a wrong type": (change_type, {}, 5, "column 'wave' holds String, expected numbers"),
    "one class only": (write_one_class, {}, 5, "one class only in the training split: ['same']"),
    "missing targets": (remove_targets, {}, 4, "label"),
    "NaN targets": (write_nan_targets, NUMBER, 4, "label"),
    "a misspelled key": (
        write_one_class,
        {"modle": {}},
        2,
        "modle is not a key; did you mean 'model'?",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_input_stops_with_its_exit_code_and_leaves_no_partial_artifact(
    case: str, tmp_path: Path, pages: Pages
) -> None:
    break_input, changes, code, message = CASES[case]
    break_input(tmp_path)
    name = f"broken-{list(CASES).index(case)}"
    job = WAVES | {"name": name, "source": {"uri": "data.parquet"}} | changes
    write_job(tmp_path, job)

    result = run_ostinato(
        tmp_path, "run", f"{name}.yaml", "--json",
        PREFECT_API_URL=f"{pages.prefect}/api", MLFLOW_TRACKING_URI=pages.mlflow,
    )  # fmt: skip

    assert result.returncode == code, result.stderr
    error = json.loads(result.stdout.splitlines()[-1])
    assert error["exit_code"] == code
    assert message in error["message"]
    assert "Traceback" not in result.stderr
    assert list_unpublished(tmp_path) == []


def list_unpublished(folder: Path) -> list[Path]:
    """Return the folders of the store without a manifest, and staged files."""
    store = folder / ".ostinato" / "store"
    folders = [
        path for path in store.glob("*/*") if path.parts[-2] not in {".staging", "source_states"}
    ]
    staged = list((store / ".staging").glob("*"))
    return [path for path in folders if not (path / "manifest.json").exists()] + staged


def test_pictures_that_cannot_be_read_are_refused_with_their_column(tmp_path: Path) -> None:
    labels = [f"kind {index % 2}" for index in range(60)]
    pictures = pl.DataFrame({"photo": [b"no picture %d" % i for i in range(60)], "label": labels})
    pictures.write_parquet(tmp_path / "data.parquet")
    inputs = [{"column": "photo", "kind": "image"}]
    write_job(tmp_path, WAVES | {"source": {"uri": "data.parquet"}, "inputs": inputs})

    result = run_ostinato(tmp_path, "check", "waves.yaml")

    assert result.returncode == 5, result.stderr
    assert "column 'photo'" in result.stderr
    assert "Traceback" not in result.stderr


def test_text_that_is_not_utf8_is_refused_with_the_encoding(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"day,weather\n2024-01-01,sch\xf6n\n")

    result = run_ostinato(tmp_path, "init", "data.csv")

    assert result.returncode == 3
    assert "data.csv" in result.stderr
    assert "UTF-8" in result.stderr


def test_an_unreachable_mlflow_is_retried_and_then_reported(tmp_path: Path, pages: Pages) -> None:
    VALID_WAVES.write_parquet(tmp_path / "waves.parquet")
    write_job(tmp_path, WAVES)

    result = run_ostinato(
        tmp_path, "run", "waves.yaml", "--json",
        PREFECT_API_URL=f"{pages.prefect}/api", MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )  # fmt: skip

    assert result.returncode == 8, result.stderr
    assert "cannot be reached" in json.loads(result.stdout.splitlines()[-1])["message"]
    assert "Awaiting" in result.stderr or "retry" in result.stderr.lower()
    assert list(tmp_path.glob(".ostinato/store/train/*/manifest.json"))
    assert not list(tmp_path.glob(".ostinato/store/evaluate/*"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """Mount a disk of one megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root can mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_leaves_no_artifact(tmp_path: Path, tiny_disk: Path) -> None:
    noise = pl.DataFrame({"wave": [os.urandom(1000).hex() for _ in range(4000)]})
    noise.with_columns(label=pl.lit("a")).write_parquet(tmp_path / "data.parquet")
    job = WAVES | {"source": {"uri": "data.parquet"}, "store": {"uri": str(tiny_disk / "store")}}
    write_job(tmp_path, job)

    result = run_ostinato(tmp_path, "check", "waves.yaml")

    assert result.returncode == 7, result.stderr
    assert "No space left on device" in result.stderr
    assert "ostinato prune" in result.stderr
    assert not list(tiny_disk.glob("store/*/*/manifest.json"))
    assert not list(tiny_disk.glob("store/.staging/*"))
