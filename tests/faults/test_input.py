"""Broken input on the command line: a clear message, the right exit code, nothing half-written."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from tests.support.sample_jobs import WAVES, Pages, ostinato, waves, write_job

SOUND = waves(120)

Break = Callable[[Path], None]


def corrupt(folder: Path) -> None:
    path = folder / "data.parquet"
    SOUND.write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])


def empty(folder: Path) -> None:
    (folder / "data.parquet").write_bytes(b"")


def no_rows(folder: Path) -> None:
    SOUND.clear().write_parquet(folder / "data.parquet")


def missing(folder: Path) -> None:
    assert not (folder / "data.parquet").exists()


def without_column(folder: Path) -> None:
    SOUND.drop("wave").write_parquet(folder / "data.parquet")


def wrong_type(folder: Path) -> None:
    SOUND.with_columns(wave=pl.lit("text")).write_parquet(folder / "data.parquet")


def one_class(folder: Path) -> None:
    SOUND.with_columns(label=pl.lit("same")).write_parquet(folder / "data.parquet")


def gap_in_target(folder: Path) -> None:
    broken = pl.when(pl.col("id") < 5).then(None).otherwise(pl.col("label"))
    SOUND.with_columns(label=broken).write_parquet(folder / "data.parquet")


def nan_in_target(folder: Path) -> None:
    number = pl.when(pl.col("id") < 5).then(float("nan")).otherwise(pl.col("id").cast(float))
    SOUND.with_columns(label=number).write_parquet(folder / "data.parquet")


NUMBER = {"target": {"column": "label", "kind": "number"}}

CASES: dict[str, tuple[Break, dict[str, object], int, str]] = {
    "a corrupt file": (corrupt, {}, 3, "data.parquet cannot be read as parquet"),
    "an empty file": (empty, {}, 3, "the file is empty"),
    "no rows": (no_rows, {}, 3, "columns but no rows"),
    "a missing file": (missing, {}, 3, "names no file"),
    "a missing column": (without_column, {}, 4, "lacks columns that the job reads: wave"),
    "a wrong type": (wrong_type, {}, 5, "column 'wave' holds String, expected numbers"),
    "one class only": (one_class, {}, 5, "one class only in the training split: ['same']"),
    "a gap in the target": (gap_in_target, {}, 4, "label"),
    "a NaN in the target": (nan_in_target, NUMBER, 4, "label"),
    "a typing error": (one_class, {"modle": {}}, 2, "modle is not a key; did you mean 'model'?"),
}


@pytest.mark.parametrize("case", CASES)
def test_broken_input_stops_with_its_own_code_and_half_writes_nothing(
    case: str, tmp_path: Path, pages: Pages
) -> None:
    breaking, changes, code, message = CASES[case]
    breaking(tmp_path)
    name = f"broken-{list(CASES).index(case)}"
    job = WAVES | {"name": name, "source": {"uri": "data.parquet"}} | changes
    write_job(tmp_path, job)

    done = ostinato(
        tmp_path, "run", f"{name}.yaml", "--json",
        PREFECT_API_URL=f"{pages.prefect}/api", MLFLOW_TRACKING_URI=pages.mlflow,
    )  # fmt: skip

    assert done.returncode == code, done.stderr
    fault = json.loads(done.stdout.splitlines()[-1])
    assert fault["exit_code"] == code
    assert message in fault["message"]
    assert "Traceback" not in done.stderr
    assert unpublished(tmp_path) == []


def unpublished(folder: Path) -> list[Path]:
    """Everything in the store that no manifest names."""
    store = folder / ".ostinato" / "store"
    homes = [
        path for path in store.glob("*/*") if path.parts[-2] not in {".staging", "source_states"}
    ]
    staged = list((store / ".staging").glob("*"))
    return [path for path in homes if not (path / "manifest.json").exists()] + staged


def test_text_that_is_not_utf8_names_the_mend(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"day,weather\n2024-01-01,sch\xf6n\n")

    done = ostinato(tmp_path, "init", "data.csv")

    assert done.returncode == 3
    assert "data.csv" in done.stderr
    assert "UTF-8" in done.stderr


def test_an_unreachable_mlflow_is_retried_and_then_told(tmp_path: Path, pages: Pages) -> None:
    SOUND.write_parquet(tmp_path / "waves.parquet")
    write_job(tmp_path, WAVES)

    done = ostinato(
        tmp_path, "run", "waves.yaml", "--json",
        PREFECT_API_URL=f"{pages.prefect}/api", MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
    )  # fmt: skip

    assert done.returncode == 8, done.stderr
    assert "cannot be reached" in json.loads(done.stdout.splitlines()[-1])["message"]
    assert "Awaiting" in done.stderr or "retry" in done.stderr.lower()
    assert len(list(tmp_path.glob(".ostinato/store/train/*/manifest.json"))) == 1
    assert not list(tmp_path.glob(".ostinato/store/evaluate/*"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    """A disk of one megabyte."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False).returncode:
        pytest.skip("only root can mount a small disk here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_so_and_leaves_nothing_behind(tmp_path: Path, tiny_disk: Path) -> None:
    noise = pl.DataFrame({"wave": [os.urandom(1000).hex() for _ in range(4000)]})
    noise.with_columns(label=pl.lit("a")).write_parquet(tmp_path / "data.parquet")
    job = WAVES | {"source": {"uri": "data.parquet"}, "store": {"uri": str(tiny_disk / "store")}}
    write_job(tmp_path, job)

    done = ostinato(tmp_path, "check", "waves.yaml")

    assert done.returncode == 7, done.stderr
    assert "No space left on device" in done.stderr
    assert "ostinato prune" in done.stderr
    assert not list(tiny_disk.glob("store/*/*/manifest.json"))
    assert not list(tiny_disk.glob("store/.staging/*"))
