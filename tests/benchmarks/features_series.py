"""Windows and scaling of a long table, compared with pandas and scikit-learn, and with NumPy.

The work: shuffled rows of many shops become windows of 28 steps of 8 channels, scaled by
statistics of the rows of the first 80 percent of the time. Ours works slice by slice, and shares
the steps between windows; the others make views, as is common with PyTorch, or copy every window
("copies").
Every measurement is from a process of its own, the contenders alternate, and the table has
medians and their ratios: `python tests/benchmarks/features_series.py [--rows 2000000]`.
Memory is the peak resident set without that of the imports and the table.
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

SHOP_ROWS = 200

PRELUDE = """
import json, sys, time
from datetime import datetime
from pathlib import Path
import numpy as np

path, LENGTH = sys.argv[1], 28
CHANNELS = [f"c{n}" for n in range(8)]
UNTIL = datetime(1970, 1, 1, 5, 20)

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report():
    print(json.dumps({"seconds": time.perf_counter() - start_time, "MiB": peak() - before}))
"""

OURS = """
import polars as pl
from models.features.config import Layout, WindowConfig
from models.features.series import (
    SeriesInput, compute_context, fit_windows, index_series, resample_series, transform)
SLICE = 100_000
frame = pl.read_parquet(path)
def build_layout(**more):
    series = SeriesInput(column=tuple(CHANNELS), **more)
    return Layout(input=series, window=WindowConfig(lookback=LENGTH), time="t", entity="shop")
before, start_time = peak(), time.perf_counter()
def iter_slices(ordered, layout):
    # As the featurize stage reads a table that it has sorted on disk.
    context = compute_context(layout)
    for first in range(0, len(ordered), SLICE):
        begin, stop = max(0, first - context.past_steps), min(first + SLICE, len(ordered))
        yield ordered[begin : stop + context.future_steps], first - begin, stop - begin
def run(layout):
    order = index_series(frame.select("shop", "t"), layout).order_N
    ordered = frame[order] if np.any(np.diff(order) < 0) else frame
    training = ((part, np.flatnonzero((part["t"][a:b] < UNTIL).to_numpy()) + a)
                for part, a, b in iter_slices(ordered, layout))
    state = fit_windows(training, layout)
    steps = np.empty((len(ordered), len(CHANNELS)), np.float32)
    starts, stops, written = [], [], 0
    for part, a, b in iter_slices(ordered, layout):
        part_steps = transform(part, layout, state)
        steps[written : written + b - a] = part_steps.values_NC[a:b]
        starts.append(part_steps.starts_R[a:b] + written - a)
        stops.append(part_steps.stops_R[a:b] + written - a)
        written += b - a
    return steps, np.concatenate(starts), np.concatenate(stops)
"""

PANDAS = """
import pandas as pd
from sklearn.preprocessing import RobustScaler, StandardScaler
frame = pd.read_parquet(path)
before, start_time = peak(), time.perf_counter()
def view_windows(ordered):
    parts = []
    for _, group in ordered.groupby("shop", sort=False):
        values = group[CHANNELS].to_numpy(np.float32)
        parts.append(np.lib.stride_tricks.sliding_window_view(values, LENGTH, 0))
    return parts
def sort_and_mark():
    ordered = frame.sort_values(["shop", "t"])
    return ordered, ordered["t"] < UNTIL
"""

CONTENDERS = {
    "in order: ours": OURS
    + """
frame = frame.sort("shop", "t")
before, start_time = peak(), time.perf_counter()
run(build_layout()); report()
""",
    "in order: pandas + sklearn, views": PANDAS
    + """
ordered, training = sort_and_mark()
before, start_time = peak(), time.perf_counter()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
view_windows(ordered)
report()
""",
    "standard: ours": OURS + "run(build_layout()); report()",
    "standard: pandas + sklearn, views": PANDAS
    + """
ordered, training = sort_and_mark()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
view_windows(ordered)
report()
""",
    "standard: pandas + sklearn, copies": PANDAS
    + """
ordered, training = sort_and_mark()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
np.concatenate(view_windows(ordered))
report()
""",
    "standard: pandas shifts": PANDAS
    + """
ordered, training = sort_and_mark()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS]).astype(np.float32)
groups = ordered.groupby("shop", sort=False)[CHANNELS]
pd.concat([groups.shift(lag).add_suffix(f"_{lag}") for lag in range(LENGTH)], axis=1)
report()
""",
    "standard: plain NumPy, views": """
import pandas as pd
frame = pd.read_parquet(path)
before, start_time = peak(), time.perf_counter()
order = np.lexsort((frame["t"].to_numpy(), frame["shop"].factorize()[0]))
values = frame[CHANNELS].to_numpy()[order]
training = frame["t"].to_numpy()[order] < np.datetime64(UNTIL)
mean, std = values[training].mean(axis=0), values[training].std(axis=0)
np.lib.stride_tricks.sliding_window_view(((values - mean) / std).astype(np.float32), LENGTH, 0)
report()
""",
    "by entity: ours": OURS + "run(build_layout(scale_per='entity')); report()",
    "by entity: pandas": PANDAS
    + """
ordered, training = sort_and_mark()
groups = ordered[training].groupby("shop")[CHANNELS]
mean, std = groups.mean(), groups.std(ddof=0)
shops = ordered["shop"]
scaled = (ordered[CHANNELS] - mean.loc[shops].to_numpy()) / std.loc[shops].to_numpy()
ordered[CHANNELS] = scaled.astype(np.float32)
view_windows(ordered)
report()
""",
    "by entity: pandas transform": PANDAS
    + """
ordered, training = sort_and_mark()
groups = ordered.groupby("shop")[CHANNELS]
ordered[CHANNELS] = groups.transform(lambda group: (group - group.mean()) / group.std(ddof=0))
view_windows(ordered)
report()
""",
    "robust: ours": OURS + "run(build_layout(scaler='robust')); report()",
    "robust: pandas + sklearn, views": PANDAS
    + """
ordered, training = sort_and_mark()
scaler = RobustScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
view_windows(ordered)
report()
""",
    "resample: ours": OURS
    + """
layout = build_layout(frequency="5m")
resample_series(frame.with_row_index("__row__"), layout, averaged=()); report()
""",
    "resample: pandas": PANDAS
    + """
frame.groupby("shop").resample("5min", on="t")[CHANNELS].mean(); report()
""",
}

SLOW = {
    "standard: pandas shifts",
    "standard: pandas + sklearn, copies",
    "by entity: pandas transform",
    "resample: pandas",
}
"""Not run at the full size: they take minutes, or fill the memory with copies."""


def write_table(path: Path, rows: int) -> None:
    """Write shuffled rows of shops with 200 irregular times each."""
    draw = np.random.default_rng(0)
    indices = draw.permutation(rows)
    minutes = indices % SHOP_ROWS * 2 + draw.integers(0, 2, rows)
    times = pl.Series(minutes * 60_000_000).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"shop": indices // SHOP_ROWS, "t": times})
    channels = {f"c{n}": draw.normal(size=rows) * 10**n for n in range(8)}
    frame.with_columns(pl.format("shop {}", "shop").alias("shop"), **channels).write_parquet(path)


def measure(rows: int, rounds: int, skipped: set[str]) -> dict[str, dict[str, float]]:
    """Run the contenders alternately; return medians over the rounds."""
    results: dict[str, list[dict[str, float]]] = {
        name: [] for name in CONTENDERS if name not in skipped
    }
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "table.parquet"
        write_table(path, rows)
        for _ in range(rounds):
            for name, runs in results.items():
                result = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", PRELUDE + CONTENDERS[name], path],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                runs.append(json.loads(result.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in results.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    sizes = {
        rows: measure(rows, arguments.rounds, skipped)
        for rows, skipped in ((arguments.rows // 10, set()), (arguments.rows, SLOW))
    }
    for rows, measured in sizes.items():
        print(f"{rows} rows{'s':>36}{'M rows/s':>10}{'MiB':>8}{'ours is':>12}{'memory':>9}")
        for name, values in measured.items():
            ours = measured[f"{name.partition(':')[0]}: ours"]
            print(
                f"{name:40}{values['seconds']:8.2f}{rows / values['seconds'] / 1e6:10.2f}"
                f"{values['MiB']:8.0f}{values['seconds'] / ours['seconds']:10.1f} x"
                f"{ours['MiB'] / max(values['MiB'], 1):9.2f}"
            )


if __name__ == "__main__":
    main()
