"""The whole featurize stage of each kind: `python tests/benchmarks/featurize.py [KIND ...]`.

Prints rows a second and the peak resident memory beyond the imports, at some rows and at ten times
as many: splitting, fitting, transforming and writing. Each figure is from a process of its own.
Rows are those that `ostinato demo` writes or that are made here, repeated with changes.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from tests.support.sample_jobs import environment  # noqa: E402 - found through the line above

STAGE = """
import json, sys, time
from pathlib import Path
import polars as pl, numpy, torch, sklearn
from flows.job.job import JOB_ADAPTER
from tasks.features.featurize import build_features
from tasks.dataset.rowset import RowSet

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

job = JOB_ADAPTER.validate_python(json.loads(sys.argv[1]))
path = Path("rows.parquet")
rows = RowSet((path,), pl.Schema(pl.read_parquet_schema(path)))
before, began = peak(), time.perf_counter()
folder = Path("out"); folder.mkdir()
build_features(folder, rows, layout=job.layout, target=job.target, split=job.split)
print(json.dumps({
    "MiB": peak() - before, "imports": before, "seconds": time.perf_counter() - began,
    "disk": sum(file.stat().st_size for file in folder.iterdir()) / 2**20,
}))
"""

WORDS = ["the", "a", "of", "network", "reads", "long", "sequence", "slowly", "when", "it", "rains"]


def lists(rows: int) -> pl.DataFrame:
    """Series of 40 steps, one a row."""
    draw = np.random.default_rng(0)
    steps = pl.Series(draw.normal(size=(rows, 40))).cast(pl.List(pl.Float64))
    return pl.DataFrame({"x": steps, "label": draw.integers(0, 3, rows)})


def windows(rows: int) -> pl.DataFrame:
    """Long table of series of 2,000 steps and 8 channels, in order."""
    draw = np.random.default_rng(0)
    place = np.arange(rows)
    channels = {f"x{channel}": draw.normal(size=rows) for channel in range(8)}
    return pl.DataFrame(
        {"t": place % 2_000, "e": place // 2_000, **channels, "label": draw.integers(0, 3, rows)}
    )


def shuffled(rows: int) -> pl.DataFrame:
    """Give the same long table as its rows came in: by time."""
    return windows(rows).sort("t")


def texts(rows: int) -> pl.DataFrame:
    """Sentences of a dozen words, most of which are common."""
    draw = np.random.default_rng(0)
    rare = draw.zipf(1.3, size=(rows, 12)) % 50_000
    cells = [
        " ".join(WORDS[word] if word < len(WORDS) else f"word{word}" for word in line)
        for line in rare
    ]
    return pl.DataFrame({"x": cells, "label": draw.integers(0, 3, rows)})


def images(rows: int) -> pl.DataFrame:
    """Grey PNG files of 28 x 28 pixels."""
    import io

    from PIL import Image

    draw = np.random.default_rng(0)
    files = []
    for pixels in draw.integers(0, 255, (2_000, 28, 28), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(pixels // 32 * 32).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return repeated(files, rows)


def sounds(rows: int) -> pl.DataFrame:
    """WAV files of half a second at 8 kHz."""
    from flows.commands.demo_data import make_chords

    return repeated(make_chords()["sound"].to_list(), rows)


def trees(rows: int) -> pl.DataFrame:
    """Binary trees of some twenty words."""
    draw = np.random.default_rng(0)

    def tree(words: list[str]) -> str:
        if len(words) == 1:
            return f"(2 {words[0]})"
        cut = int(draw.integers(1, len(words)))
        return f"(2 {tree(words[:cut])} {tree(words[cut:])})"

    made = [tree([f"w{w}" for w in draw.zipf(1.3, 20) % 20_000]) for _ in range(2_000)]
    return repeated(made, rows)


def repeated(cells: list[object], rows: int) -> pl.DataFrame:
    """Repeat cells up to so many rows, each with an id."""
    label = np.random.default_rng(1).integers(0, 3, rows)
    column = pl.Series("x", cells).gather(np.arange(rows) % len(cells))
    return pl.DataFrame({"x": column, "id": np.arange(rows), "label": label})


LONG = {"column": [f"x{channel}" for channel in range(8)], "kind": "series"}

WINDOWED = {"inputs": [LONG], "window": {"lookback": 28}, "time": "t", "entity": "e"}

BY_ID = {"split": {"by": "hash", "id": "id", "duplicates": "keep"}}

KINDS: dict[str, tuple[int, Callable[[int], pl.DataFrame], dict[str, object]]] = {
    "series in lists": (50_000, lists, {"inputs": [{"column": "x", "kind": "series"}]}),
    "series, in order": (500_000, windows, WINDOWED),
    "series, shuffled": (500_000, shuffled, WINDOWED),
    "text, bpe": (100_000, texts, {"inputs": [{"column": "x", "kind": "text"}]}),
    "text, character": (
        100_000,
        texts,
        {"inputs": [{"column": "x", "kind": "text", "tokenizer": "character"}]},
    ),
    "image": (50_000, images, {"inputs": [{"column": "x", "kind": "image"}], **BY_ID}),
    "audio": (8_000, sounds, {"inputs": [{"column": "x", "kind": "audio"}], **BY_ID}),
    "tree": (
        20_000,
        trees,
        {
            "inputs": [{"column": "x", "kind": "tree"}],
            "model": {"cell": "tree-lstm"},
            **BY_ID,
        },
    ),
}


def measure(kind: str, rows: int) -> dict[str, float]:
    """Run the stage in a process of its own."""
    _, make, settings = KINDS[kind]
    source = {key: settings[key] for key in ("time", "entity") if key in settings}
    job = {
        "name": "bench",
        "source": {"uri": "rows.parquet", **source},
        "target": {"column": "label", "kind": "category"},
        **{key: value for key, value in settings.items() if key not in source},
    }
    with tempfile.TemporaryDirectory() as folder:
        make(rows).write_parquet(Path(folder) / "rows.parquet", row_group_size=50_000)
        done = subprocess.run(
            [sys.executable, "-c", STAGE, json.dumps(job)],
            cwd=folder,
            env=environment() | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(kinds: list[str]) -> None:
    """Measure and print a table."""
    print("| kind | rows | rows/s | MiB | rows x 10 | rows/s | MiB | memory x |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in kinds:
        rows = KINDS[kind][0]
        small, large = measure(kind, rows), measure(kind, 10 * rows)
        whole = [found["imports"] + found["MiB"] for found in (small, large)]
        print(
            f"| {kind} | {rows} | {rows / small['seconds']:.0f} | {small['MiB']:.0f} "
            f"| {10 * rows} | {10 * rows / large['seconds']:.0f} | {large['MiB']:.0f} "
            f"| {whole[1] / whole[0]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(KINDS))
