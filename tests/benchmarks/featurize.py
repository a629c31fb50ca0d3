"""The featurize stage for each kind of input: `python tests/benchmarks/featurize.py [KIND ...]`.

Prints rows a second and the peak resident memory without that of the imports, at some rows and at
ten times as many: splitting, fitting, transforming and writing. Each measurement is from a process
of its own. Rows are those of `ostinato demo` or drawn here, repeated.
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

from tests.support.sample_jobs import build_environment  # noqa: E402 - needs the line above

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
before, start_time = peak(), time.perf_counter()
folder = Path("out"); folder.mkdir()
build_features(folder, rows, layout=job.layout, target=job.target, split=job.split)
print(json.dumps({
    "MiB": peak() - before, "imports": before, "seconds": time.perf_counter() - start_time,
    "disk": sum(file.stat().st_size for file in folder.iterdir()) / 2**20,
}))
"""

WORDS = ["the", "a", "of", "network", "reads", "long", "sequence", "slowly", "when", "it", "rains"]


def draw_lists(rows: int) -> pl.DataFrame:
    """Draw series of 40 steps, one a row."""
    draw = np.random.default_rng(0)
    steps = pl.Series(draw.normal(size=(rows, 40))).cast(pl.List(pl.Float64))
    return pl.DataFrame({"x": steps, "label": draw.integers(0, 3, rows)})


def draw_long_table(rows: int) -> pl.DataFrame:
    """Draw a long table of series of 2,000 steps and 8 channels, sorted by series and time."""
    draw = np.random.default_rng(0)
    index = np.arange(rows)
    channels = {f"x{channel}": draw.normal(size=rows) for channel in range(8)}
    return pl.DataFrame(
        {"t": index % 2_000, "e": index // 2_000, **channels, "label": draw.integers(0, 3, rows)}
    )


def draw_shuffled_table(rows: int) -> pl.DataFrame:
    """Return the same long table sorted by time."""
    return draw_long_table(rows).sort("t")


def draw_texts(rows: int) -> pl.DataFrame:
    """Draw sentences of twelve words, most of which are frequent."""
    draw = np.random.default_rng(0)
    words = draw.zipf(1.3, size=(rows, 12)) % 50_000
    cells = [
        " ".join(WORDS[word] if word < len(WORDS) else f"word{word}" for word in row)
        for row in words
    ]
    return pl.DataFrame({"x": cells, "label": draw.integers(0, 3, rows)})


def draw_images(rows: int) -> pl.DataFrame:
    """Draw gray PNG files of 28 x 28 pixels."""
    import io

    from PIL import Image

    draw = np.random.default_rng(0)
    files = []
    for pixels in draw.integers(0, 255, (2_000, 28, 28), dtype=np.uint8):
        buffer = io.BytesIO()
        Image.fromarray(pixels // 32 * 32).save(buffer, "PNG")
        files.append(buffer.getvalue())
    return repeat_cells(files, rows)


def make_sounds(rows: int) -> pl.DataFrame:
    """Return WAV files of half a second at 8 kHz."""
    from flows.commands.demo_data import make_chords

    return repeat_cells(make_chords()["sound"].to_list(), rows)


def draw_trees(rows: int) -> pl.DataFrame:
    """Draw binary trees of twenty words."""
    draw = np.random.default_rng(0)

    def draw_tree(words: list[str]) -> str:
        if len(words) == 1:
            return f"(2 {words[0]})"
        cut = int(draw.integers(1, len(words)))
        return f"(2 {draw_tree(words[:cut])} {draw_tree(words[cut:])})"

    trees = [draw_tree([f"w{w}" for w in draw.zipf(1.3, 20) % 20_000]) for _ in range(2_000)]
    return repeat_cells(trees, rows)


def repeat_cells(cells: list[object], rows: int) -> pl.DataFrame:
    """Return a table of so many rows that repeats the cells, with ids and labels."""
    label = np.random.default_rng(1).integers(0, 3, rows)
    column = pl.Series("x", cells).gather(np.arange(rows) % len(cells))
    return pl.DataFrame({"x": column, "id": np.arange(rows), "label": label})


LONG = {"column": [f"x{channel}" for channel in range(8)], "kind": "series"}

WINDOWED = {"inputs": [LONG], "window": {"lookback": 28}, "time": "t", "entity": "e"}

BY_ID = {"split": {"by": "hash", "id": "id", "duplicates": "keep"}}

KINDS: dict[str, tuple[int, Callable[[int], pl.DataFrame], dict[str, object]]] = {
    "series in lists": (50_000, draw_lists, {"inputs": [{"column": "x", "kind": "series"}]}),
    "series, in order": (500_000, draw_long_table, WINDOWED),
    "series, shuffled": (500_000, draw_shuffled_table, WINDOWED),
    "text, bpe": (100_000, draw_texts, {"inputs": [{"column": "x", "kind": "text"}]}),
    "text, character": (
        100_000,
        draw_texts,
        {"inputs": [{"column": "x", "kind": "text", "tokenizer": "character"}]},
    ),
    "image": (50_000, draw_images, {"inputs": [{"column": "x", "kind": "image"}], **BY_ID}),
    "audio": (8_000, make_sounds, {"inputs": [{"column": "x", "kind": "audio"}], **BY_ID}),
    "tree": (
        20_000,
        draw_trees,
        {
            "inputs": [{"column": "x", "kind": "tree"}],
            "model": {"cell": "tree-lstm"},
            **BY_ID,
        },
    ),
}


def measure(kind: str, rows: int) -> dict[str, float]:
    """Run the stage over a table in a process of its own."""
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
        result = subprocess.run(
            [sys.executable, "-c", STAGE, json.dumps(job)],
            cwd=folder,
            env=build_environment() | {"PYTHONPATH": str(ROOT)},
            check=True,
            capture_output=True,
            text=True,
        )
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def main(kinds: list[str]) -> None:
    """Measure and print a table."""
    print("| kind | rows | rows/s | MiB | rows x 10 | rows/s | MiB | memory x |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in kinds:
        rows = KINDS[kind][0]
        small, large = measure(kind, rows), measure(kind, 10 * rows)
        totals = [each["imports"] + each["MiB"] for each in (small, large)]
        print(
            f"| {kind} | {rows} | {rows / small['seconds']:.0f} | {small['MiB']:.0f} "
            f"| {10 * rows} | {10 * rows / large['seconds']:.0f} | {large['MiB']:.0f} "
            f"| {totals[1] / totals[0]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:] or list(KINDS))
