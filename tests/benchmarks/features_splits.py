"""Row hashes, splits and duplicates, compared with pandas, scikit-learn and datasketch.

Every measurement is from a process of its own, the contenders alternate, and the table has
medians: `python tests/benchmarks/features_splits.py [--rows 500000] [--texts 10000] [--rounds 3]`.
Memory is the peak resident set without that of the imports and the rows. A contender whose library
is not installed is skipped.
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
import numpy as np

path = Path(sys.argv[1])

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def load_rows(name):
    return np.load(path / (name + ".npy"))

def report():
    print(json.dumps({"seconds": time.perf_counter() - start_time, "MiB": peak() - before}))
"""

PANDAS = """
import pandas as pd
frame = pd.read_parquet(path / "table.parquet")
"""

OURS = """
import polars as pl
from models.features.splitting.row_hash import hash_frame_rows
from models.features.splitting.split import *
from models.features.splitting.duplicates import remove_duplicates
from models.features.splitting.stratified_split import split_stratified, assign_strata
frame = pl.read_parquet(path / "table.parquet")
"""

TEXTS = """
import polars as pl
texts = pl.read_parquet(path / "texts.parquet")["text"]
splits = load_rows("text_splits")
"""

CONTENDERS = {
    "row hashes, 3 columns: ours": f"""{OURS}
before, start_time = peak(), time.perf_counter()
hash_frame_rows(frame, ["text", "number", "code"])
""",
    "row hashes, 3 columns: pandas": f"""{PANDAS}
before, start_time = peak(), time.perf_counter()
pd.util.hash_pandas_object(frame[["text", "number", "code"]], index=False)
""",
    "row hashes, a group: ours": f"""{OURS}
before, start_time = peak(), time.perf_counter()
hash_frame_rows(frame, ["code"])
""",
    "row hashes, a group: pandas": f"""{PANDAS}
before, start_time = peak(), time.perf_counter()
pd.util.hash_pandas_object(frame[["code"]], index=False)
""",
    "stratified: ours": f"""{OURS}
hashes = load_rows("hashes")
before, start_time = peak(), time.perf_counter()
split_stratified(hashes, assign_strata(frame["code"], number=False), SplitConfig(by="stratified"))
""",
    "stratified: scikit-learn": f"""{PANDAS}
from sklearn.model_selection import train_test_split
codes, indices = frame["code"].to_numpy(), np.arange(len(frame))
before, start_time = peak(), time.perf_counter()
rest, test = train_test_split(indices, test_size=0.2, stratify=codes, random_state=0)
train_test_split(rest, test_size=0.125, stratify=codes[rest], random_state=0)
""",
    "duplicates: ours": f"""{OURS}
hashes, splits = load_rows("hashes"), load_rows("splits")
before, start_time = peak(), time.perf_counter()
remove_duplicates(hashes, splits, frame["code"])
""",
    "duplicates: pandas": f"""{PANDAS}
frame["hash"], frame["split"] = load_rows("hashes"), load_rows("splits")
before, start_time = peak(), time.perf_counter()
training, validation = (frame["hash"][frame["split"] == split] for split in (0, 1))
frame["hash"].isin(training), frame["hash"].isin(validation)
repeated = frame[frame["hash"].duplicated(keep=False)]
(repeated.groupby("hash")["code"].transform("nunique") > 1).sum()
""",
    "near-duplicates: ours": f"""{TEXTS}
from models.features.splitting.minhash import mark_near_duplicates
before, start_time = peak(), time.perf_counter()
mark_near_duplicates(lambda: [texts], splits, 0.8)
""",
    "near-duplicates: datasketch": f"""{TEXTS}
from datasketch import MinHash, MinHashLSH
before, start_time = peak(), time.perf_counter()
def list_shingles(text):
    return {{text[start : start + 5].encode() for start in range(max(1, len(text) - 4))}}
lsh = MinHashLSH(threshold=0.8, num_perm=72, params=(12, 6))
signatures = MinHash.bulk([list_shingles(text) for text in texts], num_perm=72)
for row in np.flatnonzero(splits == 0):
    lsh.insert(int(row), signatures[row])
near = set()
for row in np.flatnonzero(splits == 2):
    own = list_shingles(texts[int(row)])
    for candidate in lsh.query(signatures[row]):
        others = list_shingles(texts[candidate])
        if len(own & others) / len(own | others) >= 0.8:
            near.add(row)
            break
""",
}


def write_table(folder: Path, rows: int) -> None:
    """Write texts, numbers and codes of a thousand values; a tenth of the rows are duplicates."""
    draw = np.random.default_rng(0)
    origin = np.where(draw.random(rows) < 0.1, draw.integers(0, rows, rows), np.arange(rows))
    frame = pl.DataFrame(
        {
            "text": pl.Series(origin).cast(pl.String) + " is the text of this row of the table",
            "number": draw.normal(size=rows)[origin],
            "code": draw.integers(0, 1000, rows),
        }
    )
    frame.write_parquet(folder / "table.parquet")
    np.save(folder / "hashes.npy", draw.integers(0, 2**64, rows, np.uint64)[origin])
    np.save(folder / "splits.npy", draw.choice(3, rows, p=[0.7, 0.1, 0.2]).astype(np.int8))


def write_texts(folder: Path, rows: int) -> None:
    """Write texts of eighty words; a tenth of the test texts are another text with three edits."""
    draw = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(
        ["".join(draw.choice(letters, length)) for length in draw.integers(2, 9, 5000)]
    )
    texts = [words[(draw.pareto(1.0, 80) * 50).astype(int) % 5000] for _ in range(rows)]
    splits = draw.choice([0, 2], rows, p=[0.8, 0.2]).astype(np.int8)
    for row in np.flatnonzero(splits == 2)[::10]:
        texts[row] = texts[draw.integers(0, rows)].copy()
        texts[row][draw.integers(0, 80, 3)] = draw.choice(words, 3)
    pl.DataFrame({"text": [" ".join(text) for text in texts]}).write_parquet(
        folder / "texts.parquet"
    )
    np.save(folder / "text_splits.npy", splits)


def measure(rows: int, texts: int, rounds: int) -> dict[str, dict[str, float]]:
    """Run the contenders alternately; return medians over the rounds."""
    results: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as temporary:
        write_table(Path(temporary), rows)
        write_texts(Path(temporary), texts)
        for name, code in list(CONTENDERS.items()) * rounds:
            result = subprocess.run(
                [sys.executable, "-c", PRELUDE + code + "report()", temporary],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if result.returncode == 0:
                results[name].append(json.loads(result.stdout.splitlines()[-1]))
            elif "ModuleNotFoundError" not in result.stderr:
                raise RuntimeError(result.stderr)
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("seconds", "MiB")}
        for name, runs in results.items()
        if runs
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    small, large = (
        measure(arguments.rows // part, arguments.texts // part, arguments.rounds)
        for part in (10, 1)
    )
    print(f"{'':32}{'rows':>9}{'s':>8}{'k rows/s':>10}{'MiB':>8}{'s, 1/10':>10}{'MiB, 1/10':>10}")
    for name, values in large.items():
        rows = arguments.texts if name.startswith("near") else arguments.rows
        print(
            f"{name:32}{rows:9}{values['seconds']:8.3f}{rows / values['seconds'] / 1e3:10.0f}"
            f"{values['MiB']:8.0f}{small[name]['seconds']:10.3f}{small[name]['MiB']:10.0f}"
        )
    for ours, peer in zip(list(CONTENDERS)[::2], list(CONTENDERS)[1::2], strict=True):
        if ours in large and peer in large:
            faster = large[peer]["seconds"] / large[ours]["seconds"]
            memory = large[ours]["MiB"] / max(1, large[peer]["MiB"])
            pair = f"{ours} / {peer.partition(': ')[2]}"
            print(f"{pair}: {faster:.2f} x the speed, {memory:.2f} of memory")


if __name__ == "__main__":
    main()
