"""Images to uint8 pixels, compared with a loop of Pillow and NumPy, and Hugging Face datasets.

Every measurement is from a process of its own, the contenders alternate, and the table has
medians: `python tests/benchmarks/features_image.py [--rows 1000] [--rounds 3] [--peer PYTHON]`.
Memory is the peak resident set without that of the imports and the frame of files, at `--rows`
and at ten times as many, pixels included. `--peer` is a Python that has `datasets` and `polars`.
"""

import argparse
import io
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

DATA = Path(__file__).parents[3] / "shared" / "data"

PRELUDE = """
import json, sys, time
from pathlib import Path
path, height, width, mode = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]

def peak():
    # Not getrusage: its maximum includes that of the parent before the fork.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

def report(pixels, rows):
    assert pixels.nbytes == rows * height * width * (1 if mode == "L" else 3), pixels.shape
    seconds = time.perf_counter() - start_time
    print(json.dumps({"speed": rows / seconds, "MiB": peak() - before}))
"""

LOOP = """
import io
import numpy as np
from PIL import Image

def decode(image):
    return np.asarray(image.convert(mode).resize((width, height), Image.Resampling.BILINEAR))
"""

CONTENDERS = {
    "ours": """
import polars as pl
from models.features.image import ImageInput, ImageState, transform
config = ImageInput(column="image")
colors = 1 if mode == "L" else 3
state = ImageState(
    height=height, width=width, colors=colors, pixel_type="uint8", mean=(0.0,) * colors,
    std=(1.0,) * colors)
frame = pl.read_parquet(path)
before, start_time = peak(), time.perf_counter()
report(transform(frame, config, state).values_NC, len(frame))
""",
    "Pillow and NumPy": LOOP + """
import polars as pl
frame = pl.read_parquet(path)
before, start_time = peak(), time.perf_counter()
files = frame["image"].to_list()
report(np.stack([decode(Image.open(io.BytesIO(file))) for file in files]), len(files))
""",
    "datasets": LOOP + """
import pyarrow.parquet as pq
from datasets import Dataset, Image as Pictures
table = Dataset(pq.read_table(path)).cast_column("image", Pictures())
before, start_time = peak(), time.perf_counter()
report(np.stack([decode(row["image"]) for row in table]), len(table))
""",
}  # fmt: skip


def make_photographs() -> list[bytes]:
    """Make JPEGs of 2000 x 1500, as a camera does."""
    draw, files = np.random.default_rng(0), []
    for _ in range(8):
        small = Image.fromarray(draw.integers(0, 256, (15, 20, 3)).astype(np.uint8))
        large = small.resize((2000, 1500), Image.Resampling.BICUBIC)
        large.save(buffer := io.BytesIO(), "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


def make_digits() -> list[bytes]:
    """Make PNGs of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    files = []
    for digit in load_digits().images[:500]:
        image = Image.fromarray((digit * 15).astype(np.uint8)).resize((28, 28))
        image.save(buffer := io.BytesIO(), "PNG")
        files.append(buffer.getvalue())
    return files


def read_stored(name: str) -> list[bytes]:
    """Read the images of a file in the shared folder; none if it does not exist."""
    path = DATA / name
    return pl.read_parquet(path, columns=["image"])["image"].to_list() if path.exists() else []


def measure(files: list[bytes], shape: list[str], rounds: int, peer: str | None) -> dict[str, dict]:
    """Run the contenders alternately; return medians over the rounds."""
    pythons = dict.fromkeys(CONTENDERS, sys.executable) | {"datasets": peer}
    results: dict[str, list[dict[str, float]]] = {n: [] for n in CONTENDERS if pythons[n]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.parquet"
        pl.DataFrame({"image": files}).write_parquet(path)
        for _ in range(rounds):
            for name, runs in results.items():
                result = subprocess.run(
                    [pythons[name], "-W", "ignore", "-c", PRELUDE + CONTENDERS[name], path, *shape],
                    capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
                )  # fmt: skip
                runs.append(json.loads(result.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("speed", "MiB")}
        for name, runs in results.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", default=None)
    arguments = parser.parse_args()
    cases = {
        "PNG 28 x 28": (read_stored("image_mnist10k.parquet") or make_digits(), "28 28 L", 1),
        "JPEG 64 x 64": (read_stored("image_faces.parquet") or make_digits(), "64 64 RGB", 1),
        "JPEG 24 x 94": (read_stored("image_plates_cn.parquet") or make_digits(), "24 94 RGB", 1),
        "JPEG 2000 x 1500 to 64 x 64": (make_photographs(), "64 64 RGB", 50),
    }
    print(f"{'':30}{'':18}{'images/s':>10}{'MiB':>7}{'10 x: images/s':>16}{'MiB':>7}{'ours':>8}")
    for case, (files, shape, divisor) in cases.items():
        rows = max(8, arguments.rows // divisor)
        small, large = (
            measure(
                (files * (n // len(files) + 1))[:n], shape.split(), arguments.rounds, arguments.peer
            )
            for n in (rows, 10 * rows)
        )
        for name, tenfold in large.items():
            ratio = large["ours"]["speed"] / tenfold["speed"]
            print(
                f"{case:30}{name:18}{small[name]['speed']:10.0f}{small[name]['MiB']:7.0f}"
                f"{tenfold['speed']:16.0f}{tenfold['MiB']:7.0f}{ratio:7.2f}x"
            )


if __name__ == "__main__":
    main()
