"""Memory with growing data: `python tests/benchmarks/growth.py [ROWS [STAGE ...]]`.

Prints each stage's peak resident memory and rows a second at ROWS and at ten times as many, each
stage in a process of its own, without the memory of the imports.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.sample_jobs import build_environment

STAGE = """
import json, sys, time
from pathlib import Path
from flows.job.job import load_job
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import open_store
from tasks.validation.validate import accept_snapshot, create_contract, find_contract
import great_expectations, torch

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

job = load_job(Path("lists.yaml"))
store = open_store(job.store)
before, start_time = peak(), time.perf_counter()
snapshot = take_snapshot(job.source, store)
if sys.argv[1] != "ingest":
    contract = find_contract(Path(job.contract_path), job.name) or create_contract(
        snapshot, store, path=Path(job.contract_path), name=job.name,
        required_columns=job.required_columns, target=job.target.column,
    )
    accepted = accept_snapshot(snapshot, contract, store)
if sys.argv[1] == "featurize":
    make_features(
        accepted, store, layout=job.layout, target=job.target, split=job.split
    )
seconds = time.perf_counter() - start_time
print(json.dumps({"MiB": peak() - before, "imports": before, "seconds": seconds}))
"""

JOB = {
    "name": "lists",
    "source": {"uri": "lists.parquet"},
    "inputs": [{"column": "steps", "kind": "series"}],
    "target": {"column": "label", "kind": "category"},
}


def measure(rows: int, stages: list[str]) -> dict[str, dict[str, float]]:
    """Run the stages one after the other over so many rows of 40 steps; return their values."""
    measured = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw = np.random.default_rng(0)
        steps = pl.Series(draw.normal(size=(rows, 40))).cast(pl.List(pl.Float64))
        frame = pl.DataFrame({"steps": steps, "label": draw.integers(0, 3, rows)})
        frame.write_parquet(folder / "lists.parquet")
        (folder / "lists.yaml").write_text(yaml.safe_dump(JOB), encoding="utf-8")
        for stage in stages:
            result = subprocess.run(
                [sys.executable, "-c", STAGE, stage],
                cwd=folder,
                env=build_environment(),
                check=True,
                capture_output=True,
                text=True,
            )
            measured[stage] = json.loads(result.stdout.splitlines()[-1])
    return measured


def main(rows: int, stages: list[str]) -> None:
    """Measure and print."""
    base, tenfold = measure(rows, stages), measure(10 * rows, stages)
    for stage in base:
        small, large = base[stage], tenfold[stage]
        totals = [each["imports"] + each["MiB"] for each in (small, large)]
        print(
            f"{stage:10}",
            f"{rows} rows: {small['MiB']:6.0f} MiB, {rows / small['seconds']:9.0f} rows/s  ",
            f"tenfold: {large['MiB']:6.0f} MiB, {10 * rows / large['seconds']:9.0f} rows/s  ",
            f"memory x {totals[1] / totals[0]:.2f}",
        )


if __name__ == "__main__":
    stages = sys.argv[2:] or ["ingest", "validate", "featurize"]
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000, stages)
