"""Windows and scaling of a long table beside pandas with scikit-learn, and beside plain NumPy.

The work: rows of many shops in no order become windows of 28 steps of 8 channels, scaled by
statistics of the rows of the first 80 percent of the time. Ours works slice by slice, and shares
the steps between windows; the others stop at a view, as PyTorch users write it, or copy every
window ("laid out").
Every figure comes from a process of its own, the contenders take turns, and the table gives the
medians and their ratios: `python tests/benchmarks/features_series.py [--rows 2000000]`.
Memory is the peak resident set beyond what the imports and the table alone take.
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
    # Not getrusage: its maximum starts with what the parent had when it forked.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report():
    print(json.dumps({"seconds": time.perf_counter() - began, "MiB": peak() - before}))
"""

OURS = """
import polars as pl
from models.features.config import Layout, WindowConfig
from models.features.series import SeriesInput, context, fit_windows, line_up, resample, transform
SLICE = 100_000
frame = pl.read_parquet(path)
def made(**more):
    read = SeriesInput(column=tuple(CHANNELS), **more)
    return Layout(input=read, window=WindowConfig(length=LENGTH), time="t", entity="shop")
before, began = peak(), time.perf_counter()
def slices(ordered, layout):
    # As the project reads a table that it has sorted on disk.
    around = context(layout)
    for first in range(0, len(ordered), SLICE):
        begin, stop = max(0, first - around.past_steps), min(first + SLICE, len(ordered))
        yield ordered[begin : stop + around.future_steps], first - begin, stop - begin
def run(layout):
    order = line_up(frame.select("shop", "t"), layout).order_N
    ordered = frame[order] if np.any(np.diff(order) < 0) else frame
    training = ((part, np.flatnonzero((part["t"][a:b] < UNTIL).to_numpy()) + a)
                for part, a, b in slices(ordered, layout))
    state = fit_windows(training, layout)
    steps = np.empty((len(ordered), len(CHANNELS)), np.float32)
    starts, stops, done = [], [], 0
    for part, a, b in slices(ordered, layout):
        here = transform(part, layout, state)
        steps[done : done + b - a] = here.values_NC[a:b]
        starts.append(here.starts_R[a:b] + done - a)
        stops.append(here.stops_R[a:b] + done - a)
        done += b - a
    return steps, np.concatenate(starts), np.concatenate(stops)
"""

PANDAS = """
import pandas as pd
from sklearn.preprocessing import RobustScaler, StandardScaler
frame = pd.read_parquet(path)
before, began = peak(), time.perf_counter()
def windows_of(ordered):
    parts = []
    for _, own in ordered.groupby("shop", sort=False):
        values = own[CHANNELS].to_numpy(np.float32)
        parts.append(np.lib.stride_tricks.sliding_window_view(values, LENGTH, 0))
    return parts
def ordered_and_training():
    ordered = frame.sort_values(["shop", "t"])
    return ordered, ordered["t"] < UNTIL
"""

CONTENDERS = {
    "in order: ours": OURS
    + """
frame = frame.sort("shop", "t")
before, began = peak(), time.perf_counter()
run(made()); report()
""",
    "in order: pandas + sklearn, views": PANDAS
    + """
ordered, training = ordered_and_training()
before, began = peak(), time.perf_counter()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
windows_of(ordered)
report()
""",
    "standard: ours": OURS + "run(made()); report()",
    "standard: pandas + sklearn, views": PANDAS
    + """
ordered, training = ordered_and_training()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
windows_of(ordered)
report()
""",
    "standard: pandas + sklearn, laid out": PANDAS
    + """
ordered, training = ordered_and_training()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
np.concatenate(windows_of(ordered))
report()
""",
    "standard: pandas shifts": PANDAS
    + """
ordered, training = ordered_and_training()
scaler = StandardScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS]).astype(np.float32)
groups = ordered.groupby("shop", sort=False)[CHANNELS]
pd.concat([groups.shift(lag).add_suffix(f"_{lag}") for lag in range(LENGTH)], axis=1)
report()
""",
    "standard: plain NumPy, views": """
import pandas as pd
frame = pd.read_parquet(path)
before, began = peak(), time.perf_counter()
order = np.lexsort((frame["t"].to_numpy(), frame["shop"].factorize()[0]))
values = frame[CHANNELS].to_numpy()[order]
training = frame["t"].to_numpy()[order] < np.datetime64(UNTIL)
mean, spread = values[training].mean(axis=0), values[training].std(axis=0)
np.lib.stride_tricks.sliding_window_view(((values - mean) / spread).astype(np.float32), LENGTH, 0)
report()
""",
    "by entity: ours": OURS + "run(made(scale_per='entity')); report()",
    "by entity: pandas": PANDAS
    + """
ordered, training = ordered_and_training()
groups = ordered[training].groupby("shop")[CHANNELS]
mean, spread = groups.mean(), groups.std(ddof=0)
shops = ordered["shop"]
scaled = (ordered[CHANNELS] - mean.loc[shops].to_numpy()) / spread.loc[shops].to_numpy()
ordered[CHANNELS] = scaled.astype(np.float32)
windows_of(ordered)
report()
""",
    "by entity: pandas transform": PANDAS
    + """
ordered, training = ordered_and_training()
groups = ordered.groupby("shop")[CHANNELS]
ordered[CHANNELS] = groups.transform(lambda own: (own - own.mean()) / own.std(ddof=0))
windows_of(ordered)
report()
""",
    "robust: ours": OURS + "run(made(scale='robust')); report()",
    "robust: pandas + sklearn, views": PANDAS
    + """
ordered, training = ordered_and_training()
scaler = RobustScaler().fit(ordered.loc[training, CHANNELS])
ordered[CHANNELS] = scaler.transform(ordered[CHANNELS])
windows_of(ordered)
report()
""",
    "resample: ours": OURS
    + """
resample(frame.with_row_index("__row__"), made(every="5m"), target=None); report()
""",
    "resample: pandas": PANDAS
    + """
frame.groupby("shop").resample("5min", on="t")[CHANNELS].mean(); report()
""",
}

SLOW = {
    "standard: pandas shifts",
    "standard: pandas + sklearn, laid out",
    "by entity: pandas transform",
    "resample: pandas",
}
"""Left out at ten times the rows: they take minutes, or fill the memory with copies."""


def write_table(path: Path, rows: int) -> None:
    """Write shops of 200 irregular minutes each, in no order."""
    draw = np.random.default_rng(0)
    places = draw.permutation(rows)
    minutes = places % SHOP_ROWS * 2 + draw.integers(0, 2, rows)
    times = pl.Series(minutes * 60_000_000).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"shop": places // SHOP_ROWS, "t": times})
    channels = {f"c{n}": draw.normal(size=rows) * 10**n for n in range(8)}
    frame.with_columns(pl.format("shop {}", "shop").alias("shop"), **channels).write_parquet(path)


def measure(rows: int, rounds: int, left_out: set[str]) -> dict[str, dict[str, float]]:
    """Let the contenders take turns; medians over the rounds."""
    seen: dict[str, list[dict[str, float]]] = {
        name: [] for name in CONTENDERS if name not in left_out
    }
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "table.parquet"
        write_table(path, rows)
        for _ in range(rounds):
            for name, held in seen.items():
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", PRELUDE + CONTENDERS[name], path],
                    capture_output=True, text=True, check=True,
                )  # fmt: skip
                held.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in seen.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    sizes = {
        rows: measure(rows, wanted.rounds, left_out)
        for rows, left_out in ((wanted.rows // 10, set()), (wanted.rows, SLOW))
    }
    for rows, found in sizes.items():
        print(f"{rows} rows{'s':>36}{'M rows/s':>10}{'MiB':>8}{'ours is':>12}{'memory':>9}")
        for name, figures in found.items():
            ours = found[f"{name.partition(':')[0]}: ours"]
            print(
                f"{name:40}{figures['seconds']:8.2f}{rows / figures['seconds'] / 1e6:10.2f}"
                f"{figures['MiB']:8.0f}{figures['seconds'] / ours['seconds']:10.1f} x"
                f"{ours['MiB'] / max(figures['MiB'], 1):9.2f}"
            )


if __name__ == "__main__":
    main()
