"""Validation and ingestion, compared with pandas and Great Expectations on pandas.

Every measurement is from a process of its own, the contenders alternate, and the table has
medians and their ratios: `python tests/benchmarks/validation.py [--rows 5000000] [--rounds 3]`.
Memory is the peak resident set without that of the imports.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

PRELUDE = """
import json, sys, time
from pathlib import Path

path, folder = Path(sys.argv[1]), Path(sys.argv[2])

SUITE = [
    ("expect_table_row_count_to_be_between", {"min_value": 1}),
    *[("expect_column_values_to_not_be_null", {"column": c}) for c in ("id", "x", "s", "code")],
    ("expect_column_values_to_be_unique", {"column": "id"}),
    ("expect_column_values_to_be_between", {"column": "x", "min_value": -10, "max_value": 10}),
    ("expect_column_values_to_be_in_set",
     {"column": "s", "value_set": ["red", "green", "blue", "black"]}),
    ("expect_column_values_to_match_regex", {"column": "code", "regex": r"^[A-Z]\\d+$"}),
    ("expect_column_value_lengths_to_be_between",
     {"column": "code", "min_value": 2, "max_value": 8}),
    ("expect_column_mean_to_be_between", {"column": "x", "min_value": -1, "max_value": 1}),
    ("expect_column_stdev_to_be_between", {"column": "x", "min_value": 0, "max_value": 2}),
]

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report():
    print(json.dumps({"seconds": time.perf_counter() - start_time, "MiB": peak() - before}))
"""

CONTENDERS = {
    "validate: ours": """
import polars as pl
import data_contracts.engine.pandas_fallback, data_contracts.engine.polars_engine
from data_contracts.contract import Contract, Expectation
from data_contracts.suite import check_contract
before, start_time = peak(), time.perf_counter()
expectations = tuple(Expectation(type=t, kwargs=k) for t, k in SUITE)
contract = Contract(name="c", columns={}, expectations=expectations)
validation = check_contract(pl.scan_parquet(path), contract)
assert all(finding.passed and finding.engine == "polars" for finding in validation.findings)
report()
""",
    "validate: GX on pandas": """
import pandas as pd
import data_contracts.engine.pandas_fallback
from data_contracts.contract import Expectation
from data_contracts.engine.gx import build_expectation, open_context, run_validation
from great_expectations.core.batch import Batch
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.validator.validator import Validator
before, start_time = peak(), time.perf_counter()
context = open_context()
batch = Batch(data=pd.read_parquet(path))
validator = Validator(PandasExecutionEngine(), batches=[batch], data_context=context)
built = [
    build_expectation(Expectation(type=t, kwargs=k), index=n) for n, (t, k) in enumerate(SUITE)
]
assert all(result.success for result in run_validation(validator, built))
report()
""",
    "validate: one Polars query": """
import polars as pl
before, start_time = peak(), time.perf_counter()
x, code = pl.col("x"), pl.col("code")
pl.scan_parquet(path).select(
    pl.len(), *[pl.col(c).is_null().sum().name.suffix("_null") for c in ("id", "x", "s", "code")],
    pl.col("id").n_unique(), (~x.is_between(-10, 10)).sum().alias("between"),
    (~pl.col("s").is_in(["red", "green", "blue", "black"])).sum(),
    (~code.str.contains(r"^[A-Z]\\d+$")).sum(),
    (~code.str.len_chars().is_between(2, 8)).sum().alias("length"),
    x.mean().alias("mean"), x.std().alias("std"),
).collect(engine="streaming")
report()
""",
    "ingest Parquet: ours": """
from tasks.ingestion.ingest import take_snapshot
from tasks.ingestion.config import SourceConfig
from tasks.storage.store import StoreConfig, open_store
store = open_store(StoreConfig(uri=str(folder / "store"), cache=str(folder / "cache")))
before, start_time = peak(), time.perf_counter()
take_snapshot(SourceConfig(uri=str(path)), store)
report()
""",
    "ingest Parquet: pandas": """
import pandas as pd
before, start_time = peak(), time.perf_counter()
pd.read_parquet(path).to_parquet(folder / "copy.parquet", compression="zstd")
report()
""",
    "ingest CSV: ours": """
from tasks.ingestion.ingest import take_snapshot
from tasks.ingestion.config import SourceConfig
from tasks.storage.store import StoreConfig, open_store
store = open_store(StoreConfig(uri=str(folder / "store"), cache=str(folder / "cache")))
before, start_time = peak(), time.perf_counter()
take_snapshot(SourceConfig(uri=str(path.with_suffix(".csv"))), store)
report()
""",
    "ingest CSV: pandas": """
import pandas as pd
before, start_time = peak(), time.perf_counter()
pd.read_csv(path.with_suffix(".csv")).to_parquet(folder / "copy.parquet", compression="zstd")
report()
""",
}


def write_table(path: Path, rows: int) -> None:
    """Write a table of shuffled ids, numbers, colors and codes."""
    draw = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "id": draw.permutation(rows),
            "x": draw.normal(size=rows),
            "s": draw.choice(["red", "green", "blue", "black"], rows),
            "code": np.char.add("A", draw.integers(1000, 9999, rows).astype(str)),
        }
    )
    frame.write_parquet(path, row_group_size=65_536)
    frame.write_csv(path.with_suffix(".csv"))


def measure(rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """Run the contenders alternately; return medians over the rounds."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "table.parquet"
        write_table(path, rows)
        for _ in range(rounds):
            for name, code in CONTENDERS.items():
                with tempfile.TemporaryDirectory(dir=temporary) as folder:
                    result = subprocess.run(
                        [sys.executable, "-W", "ignore", "-c", PRELUDE + code, path, folder],
                        capture_output=True, text=True, check=True,
                    )  # fmt: skip
                results[name].append(json.loads(result.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in results.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    small, large = (
        measure(rows, arguments.rounds) for rows in (arguments.rows // 10, arguments.rows)
    )
    print(f"{'':32}{'s':>8}{'M rows/s':>10}{'MiB':>8}{'MiB, 1/10 of the rows':>24}")
    for name, values in large.items():
        speed = arguments.rows / values["seconds"] / 1e6
        print(
            f"{name:32}{values['seconds']:8.2f}{speed:10.2f}{values['MiB']:8.0f}"
            f"{small[name]['MiB']:24.0f}"
        )
    for ours, peer in (
        ("validate: ours", "validate: GX on pandas"),
        ("validate: ours", "validate: one Polars query"),
        ("ingest Parquet: ours", "ingest Parquet: pandas"),
        ("ingest CSV: ours", "ingest CSV: pandas"),
    ):
        faster = large[peer]["seconds"] / large[ours]["seconds"]
        memory = large[ours]["MiB"] / large[peer]["MiB"]
        print(
            f"{ours} / {peer.partition(': ')[2]}: {faster:.2f} x the speed, {memory:.2f} of memory"
        )


if __name__ == "__main__":
    main()
