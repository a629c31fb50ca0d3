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


def make_waves(rows: int, seed: int = 0) -> pl.DataFrame:
    """Return noisy waves of two frequencies, one list of steps a row, labelled by frequency."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 2, rows)
    lengths = draw.integers(8, 14, rows)
    cells = [
        (np.sin(np.arange(length) * (0.6 + 1.2 * kind)) + draw.normal(0, 0.3, length)).tolist()
        for kind, length in zip(kinds, lengths, strict=True)
    ]
    return pl.DataFrame({"id": range(rows), "wave": cells, "label": [f"kind {k}" for k in kinds]})


def make_sales(days: int) -> pl.DataFrame:
    """Return a daily series with a weekly season."""
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


def build_environment() -> dict[str, str]:
    """Return the environment of a user who has set no variable."""
    ours = ("PREFECT", "MLFLOW", "PYTEST")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | NO_TELEMETRY


def run_ostinato(
    folder: Path, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run an `ostinato` command in a folder, as a user would."""
    return subprocess.run(
        [sys.executable, "-m", "flows.cli.main", *arguments],
        cwd=folder,
        env=build_environment() | variables,
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


def start_pages(folder: Path, *arguments: str) -> Pages:
    """Start `ostinato ui` on free ports and wait until it names its pages."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "ui", *arguments],
        cwd=folder,
        env=build_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output_lines = []
    while not output_lines or not output_lines[-1].startswith("Logs"):
        output_lines.append(process.stdout.readline())
        assert process.poll() is None, "".join(output_lines) + process.stdout.read()
    names = dict(
        line.split(maxsplit=1) for line in output_lines if line.startswith(("Prefect", "MLflow"))
    )
    return Pages(folder, process, names["Prefect"].strip(), names["MLflow"].strip())


def send_json(url: str, body: dict[str, Any], *, method: str = "POST") -> Any:
    """Send JSON, and return the JSON that comes back."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method=method
    )
    return json.loads(request_with_retries(request) or b"null")


def request_with_retries(request: urllib.request.Request) -> bytes:
    """Send a request, up to ten times while the server is busy (503)."""
    for _ in range(10):
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            # Prefect's SQLite database may be locked for a moment; its own client retries too.
            if error.code != 503:
                raise
            time.sleep(0.5)
    raise TimeoutError(f"{request.full_url} is too busy to answer")


def fetch(url: str) -> bytes:
    """Return the body at an address."""
    return request_with_retries(urllib.request.Request(url))


def wait_until(find: Any, seconds: float = 120.0, *, every: float = 0.5) -> Any:
    """Call `find` until it returns something, and return that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := find():
            return value
        time.sleep(every)
    raise TimeoutError("nothing was found in time")
