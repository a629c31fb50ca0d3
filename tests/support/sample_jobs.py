"""Small data with a signal in it, jobs over it, and the command line as a user runs it."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from flows.environment import NO_TELEMETRY


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
    "model": {"hidden_size": 16, "pooling": "mean"},
    "training": {"epochs": 8, "learning_rate": 0.02},
    "gate": {"bootstrap_samples": 200},
}

SALES = {
    "name": "sales",
    "source": {"uri": "sales.parquet", "time": "day"},
    "inputs": [{"column": "sales", "kind": "series"}],
    "target": {"column": "sales", "kind": "number"},
    "window": {"lookback": 14, "horizon": 1},
    "model": {"hidden_size": 16},
    "training": {"epochs": 5, "learning_rate": 0.02},
    "gate": {"bootstrap_samples": 200, "season_length": 7},
}


def write_job(folder: Path, job: dict[str, Any]) -> Path:
    """Write a job file into the folder."""
    path = folder / f"{job['name']}.yaml"
    path.write_text(yaml.safe_dump(job), encoding="utf-8")
    return path


def environment() -> dict[str, str]:
    """The environment of a user who has set nothing."""
    ours = ("PREFECT", "MLFLOW", "PYTEST")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | NO_TELEMETRY


def ostinato(folder: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run the command line in a folder, as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *words],
        cwd=folder,
        env=environment() | variables,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@dataclass(frozen=True)
class Pages:
    """A running `ostinato ui`."""

    folder: Path
    process: "subprocess.Popen[str]"
    prefect: str
    mlflow: str


def open_pages(folder: Path, *words: str) -> Pages:
    """Start `ostinato ui` on free ports and wait until it names its pages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "ui", *words],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = []
    while not said or not said[-1].startswith("Logs"):
        said.append(process.stdout.readline())
        assert process.poll() is None, "".join(said) + process.stdout.read()
    names = dict(line.split(maxsplit=1) for line in said if line.startswith(("Prefect", "MLflow")))
    return Pages(folder, process, names["Prefect"].strip(), names["MLflow"].strip())


def send(url: str, body: dict[str, Any], *, method: str = "POST") -> Any:
    """Send JSON, and return the JSON that comes back."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method=method
    )
    return json.loads(patiently(request) or b"null")


def patiently(request: urllib.request.Request) -> bytes:
    """Ask, and ask again where the server is busy."""
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            # Its database is SQLite, and locked for a moment; Prefect's own client asks again too.
            if error.code != 503:
                raise
            time.sleep(0.5)
    raise TimeoutError(f"{request.full_url} is too busy to answer")


def fetch(url: str) -> bytes:
    """Return what lies at an address."""
    return patiently(urllib.request.Request(url))


def wait_until(found: Any, seconds: float = 120.0, *, every: float = 0.5) -> Any:
    """Ask until there is something, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := found():
            return value
        time.sleep(every)
    raise TimeoutError("nothing came of it in time")
