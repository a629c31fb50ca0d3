"""Time and memory of drift detection: `python tests/benchmarks/drift.py [ROWS] [ROUNDS]`.

Prints medians of alternating rounds, each in a process of its own: a reference is profiled, and
another day is measured and compared with it, over ROWS rows of six columns. pandas, numpy and
scipy do the same work with the whole table in memory (the Kolmogorov-Smirnov statistic from the
numbers themselves, where ours uses the bins: its time is listed separately). Also printed is the
peak resident memory without that of the imports, at ROWS and at ten times as many.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.sample_jobs import build_environment

PART = 100_000

START = """
import json, sys, time

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))

def report(start_time, halfway, before, extra=0.0):
    ended = time.perf_counter() - extra
    seconds = {"profile": halfway - start_time, "measure": ended - halfway, "ks": extra}
    print(json.dumps(seconds | {"MiB": peak() - before, "imports": before}))

"""

OURS = """
import polars as pl
from data_contracts.drift.drift import DriftConfig, compare_profiles
from data_contracts.drift.profile import measure_rows, profile_rows

before, start_time = peak(), time.perf_counter()
names = ["normal", "skewed", "whole", "few", "city", "note"]
reference = profile_rows(pl.scan_parquet(sys.argv[1]), names)
halfway = time.perf_counter()
compare_profiles(reference, measure_rows(pl.scan_parquet(sys.argv[2]), reference), DriftConfig())
report(start_time, halfway, before)
"""

THEIRS = r"""
import re
from collections import Counter
import numpy as np
import pandas as pd
import scipy.spatial.distance, scipy.stats

def count_bins(values, edges):
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)

def count_words(notes):
    return notes.str.lower().str.findall(r"\w+").explode().value_counts()

def compute_divergence(p, q):
    p, q = (p + 0.5) / (p + 0.5).sum(), (q + 0.5) / (q + 0.5).sum()
    scipy.spatial.distance.jensenshannon(p, q, base=2)
    return ((q - p) * np.log(q / p)).sum()

before, start_time = peak(), time.perf_counter()
table = pd.read_parquet(sys.argv[1])
reference = {}
for name in ["normal", "skewed", "whole", "few", "length"]:
    values = table[name] if name in table else table["note"].str.len()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, 101)))
    values.isna().sum(), values.mean(), values.std(), values.min(), values.max()
    reference[name] = edges, count_bins(values.to_numpy(), edges), values.to_numpy()
reference["city"] = table["city"].value_counts().head(200)
reference["note"] = count_words(table["note"]).head(2000)
halfway = time.perf_counter()
table, extra = pd.read_parquet(sys.argv[2]), 0.0
for name in ["normal", "skewed", "whole", "few", "length"]:
    values = table[name] if name in table else table["note"].str.len()
    edges, counts, reference_values = reference[name]
    values.isna().sum(), values.mean(), values.std(), values.min(), values.max()
    compute_divergence(counts, count_bins(values.to_numpy(), edges))
    start = time.perf_counter()
    scipy.stats.ks_2samp(reference_values, values, method="asymp")
    extra += time.perf_counter() - start
for name, counted in (("city", table["city"].value_counts()), ("note", count_words(table["note"]))):
    listed = reference[name]
    compute_divergence(listed.to_numpy(), counted.reindex(listed.index, fill_value=0).to_numpy())
report(start_time, halfway, before, extra)
"""

PROGRAMS = {"ours": START + OURS, "pandas": START + THEIRS}


def write_table(path: Path, rows: int, seed: int) -> None:
    """Write rows of four numbers, a category and a text, part by part."""
    words = np.array([f"word{index}" for index in range(5000)])
    writer = None
    for part in range(max(1, rows // PART)):
        draw = np.random.default_rng([seed, part])
        size = min(rows, PART)
        notes = [pl.Series(words[draw.zipf(1.3, size) % 5000]) for _ in range(4)]
        frame = pl.DataFrame(
            {
                "normal": draw.normal(size=size),
                "skewed": draw.lognormal(size=size),
                "whole": draw.integers(0, 10**6, size),
                "few": draw.integers(0, 10, size),
                "city": pl.Series([f"city {city}" for city in range(40)])[
                    draw.integers(0, 40, size)
                ],
                "note": pl.select(pl.concat_str(notes, separator=" ")).to_series(),
            }
        ).to_arrow()
        writer = writer or pq.ParquetWriter(path, frame.schema)
        writer.write_table(frame)
    if writer:
        writer.close()


def measure(folder: Path, rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """Run both programs alternately over so many rows; return the median of each measurement."""
    paths = [folder / f"{name}.parquet" for name in ("before", "today")]
    for seed, path in enumerate(paths):
        write_table(path, rows, seed)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, program in PROGRAMS.items():
            result = subprocess.run(
                [sys.executable, "-c", program, *map(str, paths)],
                env=build_environment(),
                check=True,
                capture_output=True,
                text=True,
            )
            results[name].append(json.loads(result.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for name, runs in results.items()
    }


def main(rows: int, rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        sizes = {rows: measure(folder, rows, rounds), 10 * rows: measure(folder, 10 * rows, 1)}
    for size, results in sizes.items():
        for part, unit in (("profile", "s"), ("measure", "s"), ("MiB", "MiB")):
            ours, theirs = results["ours"][part], results["pandas"][part]
            values = f"ours {ours:8.2f} {unit:3}  pandas {theirs:8.2f} {unit:3}"
            print(f"{size:10} rows  {part:8} {values}  ratio {ours / theirs:.2f}")
        print(f"{size:10} rows  scipy's ks_2samp of five columns: {results['pandas']['ks']:.2f} s")
    for name in PROGRAMS:
        small, large = (
            results[name]["imports"] + results[name]["MiB"] for results in sizes.values()
        )
        print(f"{name:8} memory at ten times the rows: x {large / small:.2f}")


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [500_000, 3][len(numbers) :]))
