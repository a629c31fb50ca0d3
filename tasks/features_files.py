"""Reading and writing the files of a features artifact.

Shapes: N steps, C channels.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.features.featurizer import Featurizer, from_json
from models.features.steps import Steps

CHUNK_STEPS = 262_144
"""Steps that are scaled and written at once."""


def load_featurizer(folder: Path) -> Featurizer:
    """Read the state that was fitted with these features."""
    return from_json(json.loads((folder / "featurizer.json").read_text(encoding="utf-8")))


def map_steps(folder: Path) -> NDArray[np.float32]:
    """Map the steps from disk as [steps, channels], without a copy."""
    with pa.memory_map(str(folder / "steps.arrow")) as source:
        steps = pa.ipc.open_file(source).get_batch(0).column(0)
    return np.asarray(steps.values.to_numpy().reshape(-1, steps.type.list_size))


def write_steps(folder: Path, steps: Steps, featurizer: Featurizer) -> None:
    """Scale chunk by chunk into Parquet and, as one batch that can be mapped, into Arrow IPC."""
    channels = featurizer.channels
    schema = pa.schema([("step", pa.list_(pa.float32(), channels))])
    flat = folder / "scaled.bin"
    with (
        flat.open("wb") as file,
        pq.ParquetWriter(folder / "steps.parquet", schema, compression="zstd") as parquet,
    ):
        for start in range(0, len(steps.values_NC), CHUNK_STEPS):
            scaled = featurizer.scaler.transform(steps.values_NC[start : start + CHUNK_STEPS])
            scaled.tofile(file)
            parquet.write_batch(as_batch(scaled.reshape(-1), schema, channels))
    with (
        pa.OSFile(str(folder / "steps.arrow"), "wb") as file,
        pa.ipc.new_file(file, schema) as arrow,
    ):
        arrow.write_batch(as_batch(np.memmap(flat, np.float32, "r"), schema, channels))
    flat.unlink()


def as_batch(values: NDArray[np.float32], schema: pa.Schema, channels: int) -> pa.RecordBatch:
    """See an array as a list of channels a step, without a copy."""
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), channels)
    return pa.record_batch([lists], schema=schema)
