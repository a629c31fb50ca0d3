"""Sounds and trees, compared with other libraries: `python tests/benchmarks/features_peers.py`.

Prints rows a second and the peak memory without that of the imports, at some rows and at ten times
as many, each from a process of its own, contenders alternating, medians of three rounds. Sounds:
a loop over librosa's mel spectrogram, and one over SciPy's. Trees: NLTK's `Tree.fromstring`, and
a walk into the same arrays, where NLTK is installed.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "benchmarks")]

from featurize import draw_trees, make_sounds  # noqa: E402 - needs the line above

from tests.support.sample_jobs import build_environment  # noqa: E402

ROUNDS = 3

WORK = {
    "audio": {
        "ours": """
import soundfile, soxr, scipy.fft
from models.features.audio import AudioInput, AudioState, transform
config = AudioInput(column="x", n_mels=40)
state = AudioState(sample_rate=8000, mean=(0.0,) * 40, std=(1.0,) * 40)
def work(frame):
    return transform(frame, config, state).values_NC
""",
        "librosa": """
import io, librosa, numpy, soundfile
librosa.feature.melspectrogram(y=numpy.zeros(800, "float32"), sr=8000, n_mels=40)
def work(frame):
    return numpy.concatenate([compute_mel(cell) for cell in frame["x"]])
def compute_mel(cell):
    samples, rate = soundfile.read(io.BytesIO(cell), dtype="float32")
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=256, win_length=200,
        hop_length=80, n_mels=40, fmin=20, pad_mode="constant")
    return numpy.log(numpy.maximum(mel, 1e-10)).T
""",
        "scipy": """
import io, numpy, scipy.signal, soundfile
from models.features.audio import AudioInput
from models.features.audio.mel import _build_mel_filters
weights = _build_mel_filters(AudioInput(column="x", n_mels=40), 8000)
def work(frame):
    return numpy.concatenate([compute_mel(cell) for cell in frame["x"]])
def compute_mel(cell):
    samples, rate = soundfile.read(io.BytesIO(cell), dtype="float32")
    power = scipy.signal.spectrogram(samples, rate, window="hann", nperseg=200, noverlap=120,
        nfft=256, scaling="spectrum", mode="psd")[2]
    return numpy.log(numpy.maximum(power.T @ weights, 1e-10)).astype("float32")
""",
    },
    "tree": {
        "ours": """
from models.features.tree import read_trees
def work(frame):
    return read_trees(frame["x"], max_nodes=2000).parent_N
""",
        "nltk": """
import nltk, numpy
def work(frame):
    parents = []
    for text in frame["x"]:
        walk(nltk.Tree.fromstring(text), parents)
    return numpy.array(parents)
def walk(tree, parents):
    children = [walk(child, parents) for child in tree if not isinstance(child, str)]
    index = len(parents)
    parents.append(0)
    for child in children:
        parents[child] = index - child
    return index
""",
    },
}

RUN = """
import json, polars as pl, sys, time
from pathlib import Path
def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
exec(sys.argv[1])
rows = pl.scan_parquet("rows.parquet")
work(rows.head(64).collect())
before, start_time = peak(), time.perf_counter()
for batch in rows.collect_batches(chunk_size=4096, maintain_order=True):
    work(batch)
print(json.dumps({"seconds": time.perf_counter() - start_time, "MiB": peak() - before}))
"""


def measure(work: str, folder: Path) -> dict[str, float]:
    """Run the work over the rows in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, work],
        cwd=folder,
        env=build_environment() | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    measured: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return measured


def main() -> None:
    """Measure and print a table."""
    print("| kind | rows | name | rows/s | MiB | ours is |")
    print("|---|---:|---|---:|---:|---:|")
    for kind, make, rows in (("audio", make_sounds, 1_000), ("tree", draw_trees, 4_000)):
        contenders = {name: work for name, work in WORK[kind].items() if is_installed(name)}
        for count in (rows, 10 * rows):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                make(count).select("x").write_parquet(folder / "rows.parquet", row_group_size=4096)
                compare(kind, contenders, count, folder)


def is_installed(name: str) -> bool:
    """Return whether a contender's package is installed."""
    return name == "ours" or find_spec(name) is not None


def compare(kind: str, contenders: dict[str, str], rows: int, folder: Path) -> None:
    """Run the contenders alternately, and print their medians."""
    rounds = [
        {name: measure(work, folder) for name, work in contenders.items()} for _ in range(ROUNDS)
    ]
    seconds = {
        name: statistics.median(each[name]["seconds"] for each in rounds) for name in contenders
    }
    memory = {name: statistics.median(each[name]["MiB"] for each in rounds) for name in contenders}
    for name in contenders:
        ratio = seconds[name] / seconds["ours"]
        print(
            f"| {kind} | {rows} | {name} | {rows / seconds[name]:.0f} | {memory[name]:.0f} "
            f"| {ratio:.2f} x as fast |",
            flush=True,
        )


if __name__ == "__main__":
    main()
