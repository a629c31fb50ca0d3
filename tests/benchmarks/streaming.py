"""Data larger than memory: peak memory and speed of training from disk.

    python tests/benchmarks/streaming.py [MEGABYTES]

The steps of random series are written to a file of so many megabytes, and to one ten times as
large. Each way of loading trains a small gru for one epoch, in a process of its own, of which the
kernel reports the peak memory (VmHWM). `in_memory` maps the file; pages count once they are read.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from models.features.feature_spec import Numbers
from models.features.static_covariates import StaticCovariates
from models.learning.batches import Spans, to_device
from models.learning.config import TrainingConfig
from models.learning.data_source import Sequences
from models.learning.loop import Callbacks, CheckpointStore, fit
from models.learning.memory import retain_freed_memory
from models.learning.stream import StreamingSet
from models.networks.config import ModelConfig
from models.networks.heads.build import HeadSpec
from models.networks.network import NetworkSpec, build_network

STEPS, CHANNELS, HIDDEN, SCORED = 100, 64, 8, 64
DATA_LOADING = ("streaming", "in_memory")


def write_steps(path: Path, megabytes: int) -> None:
    """Write the steps, block by block."""
    rows = megabytes * 2**20 // (STEPS * CHANNELS * 4)
    shape = (rows * STEPS, CHANNELS)
    file = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    draw = np.random.default_rng(0)
    for start in range(0, len(file), 2**16):
        block = file[start : start + 2**16]
        block[:] = draw.standard_normal(block.shape, dtype=np.float32)
    file.flush()


def open_sequences(path: Path, data_loading: str, rows: int | None = None) -> Sequences:
    """Open the sequences of a file, or its first `rows`."""
    values = np.load(path, mmap_mode="r")
    starts = np.arange(0, len(values), STEPS)[:rows]
    spans, indices = Spans(starts, starts + STEPS), np.arange(len(starts))
    targets = (indices % 2).astype(np.float32)
    if data_loading == "in_memory":
        return to_device(
            values,
            spans,
            targets_M=targets,
            target_spans=Spans(indices, indices + 1),
            device=torch.device("cpu"),
        )
    return StreamingSet(
        values_NC=values,
        spans=spans,
        targets_M=targets,
        target_spans=Spans(indices, indices + 1),
        statics=StaticCovariates(
            np.empty((len(indices), 0), np.int32), np.empty((len(indices), 0), np.float32)
        ),
        device=torch.device("cpu"),
    )


def train_once(path: str, data_loading: str) -> None:
    """Train for one epoch; print the peak memory in megabytes and the sequences a second."""
    retain_freed_memory()
    data = open_sequences(Path(path), data_loading)
    scored = open_sequences(Path(path), data_loading, SCORED)
    spec = NetworkSpec(
        features=Numbers(channels=CHANNELS), head=HeadSpec(kind="category", num_classes=2)
    )
    network = build_network(ModelConfig(cell="gru", hidden_size=HIDDEN), spec, seed=0)
    config = TrainingConfig(epochs=1, checkpoint_every=1e9)
    no_checkpoints = CheckpointStore(load=lambda: None, save=lambda _: None)
    start_time = time.perf_counter()
    fit(
        network,
        data,
        scored,
        config=config,
        checkpoints=no_checkpoints,
        callbacks=Callbacks(lambda _: None),
    )
    speed = len(data) / (time.perf_counter() - start_time)
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024, speed)


def measure(path: Path, data_loading: str) -> tuple[float, float]:
    """Train in a process of its own; return its peak memory and its speed."""
    command = [sys.executable, __file__, "train", str(path), data_loading]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak, speed = map(float, output.split())
    return peak, speed


def main() -> None:
    """Print the table."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    print("| steps, MB | data_loading | peak, MB | sequences/s |\n|---:|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for size in (megabytes, 10 * megabytes):
            path = Path(folder) / f"{size}.npy"
            write_steps(path, size)
            for data_loading in DATA_LOADING:
                peak, speed = measure(path, data_loading)
                print(f"| {size} | {data_loading} | {peak:,.0f} | {speed:,.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train_once(*sys.argv[2:])
    else:
        main()
