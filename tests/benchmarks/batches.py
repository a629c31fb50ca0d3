"""From the store to batches, and batches of unequal lengths, compared with common practice.

    python tests/benchmarks/batches.py [ROUNDS] [--only lengths,windows,store]

`lengths`: steps a second of one layer, forwards and backwards, over sequences whose lengths are
lognormal and fill two fifths of a padded batch; compared with a DataLoader with
pack_padded_sequence, and with the limit: the same number of steps in sequences of one length.
`windows`: batches of windows a second, compared with a DataLoader over a TensorDataset, and with
the limit: as many bytes copied into a reused buffer.
`store`: from the files of a features artifact to steps in memory that a batch can be taken from,
compared with pandas, and with the limit, a copy of the bytes.
Contenders alternate; medians of the rounds' ratios. Ratios above 1 mean that ours is faster.

Shapes: S sequences, N steps of all, T steps of a window, C channels, H units.
"""

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader, TensorDataset

from models.learning.batches import SequenceSet, Spans, draw_batches, gather, to_device
from models.learning.memory import retain_freed_memory
from models.networks.config import ModelConfig
from models.networks.layer import build_cell
from tasks.dataset.feature_files import map_steps, write_steps

Run = Callable[[], object]

SEQUENCES, LONGEST, CHANNELS, HIDDEN, BATCH = 2_000, 100, 32, 128, 64
KERNELS = {"lstm": nn.LSTM, "gru": nn.GRU}
WINDOW, WINDOW_BATCH = 100, 256
WINDOWED = {"2.6 MB": 20_000, "154 MB": 1_200_000}
"""Rows of the series that windows are cut from."""
WINDOW_COUNT = 20_000
STORED_ROWS = 1_000_000


def time_alternately(runs: dict[str, Run], rounds: int) -> dict[str, list[float]]:
    """Run the contenders alternately, after a round that is not counted; return their seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_index in range(rounds + 1):
        for name, run in runs.items():
            start_time = time.perf_counter()
            run()
            if round_index:
                seconds[name].append(time.perf_counter() - start_time)
    return seconds


def format_ratio(seconds: dict[str, list[float]], name: str) -> str:
    """Return how many times as long as ours a contender takes."""
    return f"{median(np.divide(seconds[name], seconds['ours']).tolist()):.2f}"


def draw_sequences(lengths_S: np.ndarray) -> SequenceSet:
    """Draw sequences of these lengths."""
    stops_S = np.cumsum(lengths_S)
    values_NC = np.random.default_rng(1).normal(size=(stops_S[-1], CHANNELS)).astype(np.float32)
    spans = Spans(stops_S - lengths_S, stops_S)
    return to_device(values_NC, spans, device=torch.device("cpu"))


def build_jagged_run(cell: nn.Module, sequences: SequenceSet) -> Run:
    """Build a run of an epoch as in our loop: rows of similar length together."""
    order = draw_batches(sequences.lengths_S, batch=BATCH, seed=0, epoch=0)

    def run_epoch() -> None:
        for rows in order:
            batch = gather(sequences, rows)
            cell.zero_grad()
            cell.outputs(batch.values_NC, batch.offsets).sum().backward()

    return run_epoch


def build_packed_run(kernel: nn.Module, sequences: SequenceSet) -> Run:
    """Build a run of an epoch with a DataLoader, as in tutorials."""
    spans = sequences.spans
    items = [
        sequences.values_NC[start:stop]
        for start, stop in zip(spans.starts_S, spans.stops_S, strict=True)
    ]

    def collate(parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        return pad_sequence(parts, batch_first=True), torch.tensor([len(part) for part in parts])

    loader = DataLoader(items, batch_size=BATCH, shuffle=True, collate_fn=collate)

    def run_epoch() -> None:
        for padded, lengths in loader:
            kernel.zero_grad()
            steps = pack_padded_sequence(padded, lengths, batch_first=True, enforce_sorted=False)
            kernel(steps)[0].data.sum().backward()

    return run_epoch


def draw_lognormal_lengths() -> np.ndarray:
    """Draw lengths that fill about two fifths of a padded batch."""
    lengths = np.random.default_rng(0).lognormal(np.log(0.32 * LONGEST), 0.7, SEQUENCES)
    return np.clip(lengths, 1, LONGEST).astype(np.int64)


def compare_lengths(rounds: int) -> None:
    """Print the table of unequal lengths."""
    lengths_S = draw_lognormal_lengths()
    fill = lengths_S.mean() / lengths_S.max()
    print(f"\n{SEQUENCES:,} sequences, {fill:.0%} of a padded batch\n")
    print("| cell | ours, steps/s | x packed | of equal lengths |\n|---|---:|---:|---:|")
    # As many steps, and as many batches, with nothing to sort or pad.
    equal_S = np.full(SEQUENCES, round(lengths_S.mean()))
    for name, kernel in KERNELS.items():
        cell = build_cell(ModelConfig(cell=name, hidden_size=HIDDEN), inputs=CHANNELS)
        unequal, equal = draw_sequences(lengths_S), draw_sequences(equal_S)
        seconds = time_alternately(
            {
                "ours": build_jagged_run(cell, unequal),
                "packed": build_packed_run(kernel(CHANNELS, HIDDEN, batch_first=True), unequal),
                "limit": build_jagged_run(cell, equal),
            },
            rounds,
        )
        speed = lengths_S.sum() / median(seconds["ours"])
        size = lengths_S.sum() / equal_S.sum()
        limit = size * float(format_ratio(seconds, "limit"))
        print(f"| {name} | {speed:,.0f} | {format_ratio(seconds, 'packed')} | {limit:.2f} |")


def draw_windows(rows: int) -> SequenceSet:
    """Draw a series and select WINDOW_COUNT of its windows, evenly spaced."""
    values_NC = np.random.default_rng(0).normal(size=(rows, CHANNELS)).astype(np.float32)
    starts_S = np.linspace(0, rows - WINDOW, WINDOW_COUNT).astype(np.int64)
    spans = Spans(starts_S, starts_S + WINDOW)
    return to_device(values_NC, spans, device=torch.device("cpu"))


def copy_into(buffer_BTC: Tensor, part_BTC: Tensor) -> None:
    """Copy a batch to the reused buffer."""
    buffer_BTC[: len(part_BTC)].copy_(part_BTC)


def consume(maker: tuple[Callable[..., object], object], parts: Iterable[object]) -> None:
    """Make every batch and discard it."""
    for part in parts:
        maker[0](maker[1], part)


def compare_windows(rounds: int) -> None:
    """Print the table of batches of windows."""
    print(f"\n{WINDOW_COUNT:,} windows of {WINDOW} steps of {CHANNELS} channels\n")
    print("| series | ours, windows/s | x DataLoader | of a copy |\n|---|---:|---:|---:|")
    buffer_BTC = torch.empty(WINDOW_BATCH, WINDOW, CHANNELS)
    for name, rows in WINDOWED.items():
        sequences = draw_windows(rows)
        order = draw_batches(sequences.lengths_S, batch=WINDOW_BATCH, seed=0, epoch=0)
        windows = sequences.values_NC.unfold(0, WINDOW, 1).transpose(1, 2)
        windows_STC = windows[torch.from_numpy(sequences.spans.starts_S)].contiguous()
        loader = DataLoader(TensorDataset(windows_STC), batch_size=WINDOW_BATCH, shuffle=True)
        runs: dict[str, Run] = {
            "ours": partial(consume, (gather, sequences), order),
            "loader": partial(deque, loader, maxlen=0),
            "limit": partial(consume, (copy_into, buffer_BTC), windows_STC.split(WINDOW_BATCH)),
        }
        seconds = time_alternately(runs, rounds)
        speed = WINDOW_COUNT / median(seconds["ours"])
        ratios = f"{format_ratio(seconds, 'loader')} | {format_ratio(seconds, 'limit')}"
        print(f"| {name} | {speed:,.0f} | {ratios} |")


def compare_store(rounds: int) -> None:
    """Print the time from files to a tensor."""
    values_NC = np.random.default_rng(0).normal(size=(STORED_ROWS, CHANNELS)).astype(np.float32)
    print(f"\n{STORED_ROWS:,} rows of {CHANNELS} numbers, in the page cache\n")
    print("| ours, ms | open only, ms | x pandas | of a copy |\n|---:|---:|---:|---:|")
    buffer_NC, source_NC = torch.empty(values_NC.shape), torch.from_numpy(values_NC)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_steps(folder, [values_NC])
        frame = pd.DataFrame(values_NC, columns=[f"c{channel}" for channel in range(CHANNELS)])
        frame.to_parquet(folder / "frame.parquet", compression="zstd")
        whole = Spans(np.zeros(1, np.int64), np.full(1, STORED_ROWS))

        def map_tensor() -> Tensor:
            return to_device(map_steps(folder), whole, device=torch.device("cpu")).values_NC

        def read_frame() -> Tensor:
            read_NC = pd.read_parquet(folder / "frame.parquet").to_numpy()
            return torch.tensor(read_NC)

        seconds = time_alternately(
            {
                "ours": lambda: buffer_NC.copy_(map_tensor()),
                "open": map_tensor,
                "pandas": read_frame,
                "limit": lambda: buffer_NC.copy_(source_NC),
            },
            rounds,
        )
    ours, opening = (1000 * median(seconds[name]) for name in ("ours", "open"))
    ratios = f"{format_ratio(seconds, 'pandas')} | {format_ratio(seconds, 'limit')}"
    print(f"| {ours:.1f} | {opening:.2f} | {ratios} |")


PARTS = {"lengths": compare_lengths, "windows": compare_windows, "store": compare_store}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int, nargs="?", default=5)
    parser.add_argument("--only", default=",".join(PARTS))
    arguments = parser.parse_args()
    retain_freed_memory()
    print(f"{torch.get_num_threads()} threads, medians of {arguments.rounds} rounds")
    for name in arguments.only.split(","):
        PARTS[name](arguments.rounds)


if __name__ == "__main__":
    main()
