"""Sounds and trees beside their peers: `python tests/benchmarks/features_peers.py`.

Prints rows a second and the peak memory beyond the imports, at some rows and at ten times as many,
each figure from a process of its own, contenders taking turns, medians of three rounds. Sounds:
a loop over librosa's mel spectrogram, and one over SciPy's. Trees: NLTK's `Tree.fromstring` walked
into the same arrays, where NLTK is installed.
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

from featurize import sounds, trees  # noqa: E402 - found through the lines above

from tests.support.sample_jobs import environment  # noqa: E402

ROUNDS = 3

WORK = {
    "audio": {
        "ours": """
import soundfile, soxr, scipy.fft
from models.features.audio import AudioInput, AudioState, transform
config = AudioInput(column="x", n_mels=40)
state = AudioState(sample_rate=8000, mean=(0.0,) * 40, spread=(1.0,) * 40)
def work(frame):
    return transform(frame, config, state).values_NC
""",
        "librosa": """
import io, librosa, numpy, soundfile
librosa.feature.melspectrogram(y=numpy.zeros(800, "float32"), sr=8000, n_mels=40)
def work(frame):
    return numpy.concatenate([one(cell) for cell in frame["x"]])
def one(cell):
    samples, rate = soundfile.read(io.BytesIO(cell), dtype="float32")
    mel = librosa.feature.melspectrogram(y=samples, sr=rate, n_fft=256, win_length=200,
        hop_length=80, n_mels=40, fmin=20, pad_mode="constant")
    return numpy.log(numpy.maximum(mel, 1e-10)).T
""",
        "scipy": """
import io, numpy, scipy.signal, soundfile
from models.features.audio import AudioInput
from models.features.audio.mel import mel_weights
weights = mel_weights(AudioInput(column="x", n_mels=40), 8000)
def work(frame):
    return numpy.concatenate([one(cell) for cell in frame["x"]])
def one(cell):
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
    below = [walk(child, parents) for child in tree if not isinstance(child, str)]
    place = len(parents)
    parents.append(0)
    for child in below:
        parents[child] = place - child
    return place
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
before, began = peak(), time.perf_counter()
for batch in rows.collect_batches(chunk_size=4096, maintain_order=True):
    work(batch)
print(json.dumps({"seconds": time.perf_counter() - began, "MiB": peak() - before}))
"""


def measure(work: str, folder: Path) -> dict[str, float]:
    """Do the work over the rows in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", RUN, work],
        cwd=folder,
        env=environment() | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print a table."""
    print("| kind | rows | who | rows/s | MiB | ours is |")
    print("|---|---:|---|---:|---:|---:|")
    for kind, make, rows in (("audio", sounds, 1_000), ("tree", trees, 4_000)):
        contenders = {who: work for who, work in WORK[kind].items() if installed(who)}
        for count in (rows, 10 * rows):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                make(count).select("x").write_parquet(folder / "rows.parquet", row_group_size=4096)
                compare(kind, contenders, count, folder)


def installed(who: str) -> bool:
    """Tell whether a peer is there."""
    return who == "ours" or find_spec(who) is not None


def compare(kind: str, contenders: dict[str, str], rows: int, folder: Path) -> None:
    """Let the contenders take turns, and print their medians."""
    rounds = [
        {who: measure(work, folder) for who, work in contenders.items()} for _ in range(ROUNDS)
    ]
    seconds = {w: statistics.median(r[w]["seconds"] for r in rounds) for w in contenders}
    memory = {w: statistics.median(r[w]["MiB"] for r in rounds) for w in contenders}
    for who in contenders:
        ratio = seconds[who] / seconds["ours"]
        print(
            f"| {kind} | {rows} | {who} | {rows / seconds[who]:.0f} | {memory[who]:.0f} "
            f"| {ratio:.2f} x as fast |",
            flush=True,
        )


if __name__ == "__main__":
    main()
