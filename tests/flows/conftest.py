"""Jobs over small data with a signal in it, and Prefect's harness once for all flow tests."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml
from prefect.testing.utilities import prefect_test_harness


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One real server for the whole session: each start costs seconds."""
    with prefect_test_harness(server_startup_timeout=120):
        yield


def waves(rows: int, seed: int = 0) -> pl.DataFrame:
    """Noisy waves of two frequencies, a list of steps a row."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 2, rows)
    lengths = draw.integers(8, 14, rows)
    cells = [
        (np.sin(np.arange(length) * (0.6 + 1.2 * kind)) + draw.normal(0, 0.3, length)).tolist()
        for kind, length in zip(kinds, lengths, strict=True)
    ]
    return pl.DataFrame({"id": range(rows), "wave": cells, "label": [f"kind {k}" for k in kinds]})


def sales(days: int) -> pl.DataFrame:
    """A daily series with a weekly rhythm."""
    draw = np.random.default_rng(1)
    steps = np.arange(days)
    values = 10 + 5 * np.sin(2 * np.pi * steps / 7) + draw.normal(0, 0.3, days)
    dates = [date(2024, 1, 1) + timedelta(days=int(step)) for step in steps]
    return pl.DataFrame({"day": dates, "sales": values})


WAVES = {
    "name": "waves",
    "source": {"uri": "waves.parquet"},
    "inputs": [{"column": "wave", "kind": "series"}],
    "target": {"column": "label", "kind": "category"},
    "model": {"hidden": 16, "pooling": "mean"},
    "training": {"epochs": 8, "learning_rate": 0.02},
    "gate": {"resamples": 200},
}

SALES = {
    "name": "sales",
    "source": {"uri": "sales.parquet", "time": "day"},
    "inputs": [{"column": "sales", "kind": "series"}],
    "target": {"column": "sales", "kind": "number"},
    "window": {"length": 14, "horizon": 1},
    "model": {"hidden": 16},
    "training": {"epochs": 5, "learning_rate": 0.02},
    "gate": {"resamples": 200, "season": 7},
}


@pytest.fixture
def waves_job(home: Path) -> Path:
    """A job file over 300 waves."""
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES)


@pytest.fixture
def sales_job(home: Path) -> Path:
    """A job file over 400 days of sales."""
    sales(400).write_parquet(home / "sales.parquet")
    return write_job(home, SALES)


def write_job(folder: Path, job: dict) -> Path:
    """Write a job file into the folder."""
    path = folder / f"{job['name']}.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path
