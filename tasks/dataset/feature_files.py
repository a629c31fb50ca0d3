"""Read and write the files of a features artifact.

- `steps.parquet`: the steps of all sequences; `steps.npy`: the same, to be mapped into memory.
- `targets.npy`: the encoded targets, end to end; overlapping windows share them.
- `sequences.parquet`: a row for each sequence with its split, the ranges of its steps and targets
  in the two files, and its static covariates.
- `featurizer.json`, `featurizer.safetensors`: the fitted featurizer.
- a file that identifies the rows of training and validation, see `training_membership`.

Shapes: N steps, C channels, M encoded numbers of all targets.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models.features.static_covariates import StaticCovariates

_CHUNK_STEPS = 262_144
"""Steps in a Parquet row group."""

_HEADER_BYTES = 128

_ARROW_TYPES = {"float32": pa.float32(), "int32": pa.int32(), "uint8": pa.uint8()}


class NpyWriter:
    """Write a .npy file chunk by chunk, without holding the array in memory.

    The header, which contains the length, has a fixed size and is written again at the end.
    """

    def __init__(self, path: Path, dtype: type[np.generic] = np.float32) -> None:
        self.file = path.open("wb")
        self.length, self.item_shape, self.dtype = 0, (), np.dtype(dtype)
        self.file.write(_format_npy_header(self.dtype, 0, self.item_shape))

    def append(self, chunk: NDArray[Any]) -> None:
        """Append a chunk; all chunks have the same dtype and shape, except for their length."""
        if not self.length:
            self.dtype, self.item_shape = chunk.dtype, chunk.shape[1:]
        chunk.tofile(self.file)
        self.length += len(chunk)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the final header and close the file."""
        self.file.seek(0)
        self.file.write(_format_npy_header(self.dtype, self.length, self.item_shape))
        self.file.close()


def map_steps(folder: Path) -> NDArray[Any]:
    """Map the steps from disk, [N, C]."""
    steps: NDArray[Any] = np.load(folder / "steps.npy", mmap_mode="r", allow_pickle=False)
    return steps


def map_targets(folder: Path) -> NDArray[np.float32]:
    """Map the encoded targets from disk, [M]."""
    path = folder / "targets.npy"
    if path.stat().st_size == _HEADER_BYTES:
        # An empty file cannot be mapped.
        return np.empty(0, np.float32)
    targets: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return targets


def write_targets(folder: Path, values_M: NDArray[np.float32]) -> None:
    """Write all encoded targets."""
    with NpyWriter(folder / "targets.npy") as file:
        file.append(values_M)


def write_steps(folder: Path, chunks: Iterable[NDArray[Any]]) -> tuple[int, int]:
    """Write chunks of steps into `steps.parquet` and `steps.npy`.

    Args:
        folder: of the artifact.
        chunks: [n, C] each.

    Returns:
        N and C; (0, 0) where there is no chunk.
    """
    parquet: pq.ParquetWriter | None = None
    with NpyWriter(folder / "steps.npy") as file:
        for chunk_NC in chunks:
            if parquet is None:
                schema = _build_step_schema(chunk_NC)
                parquet = _open_steps_parquet(folder / "steps.parquet", schema)
            file.append(chunk_NC)
            for start in range(0, len(chunk_NC), _CHUNK_STEPS):
                part = np.ascontiguousarray(chunk_NC[start : start + _CHUNK_STEPS])
                parquet.write_batch(_to_record_batch(part.reshape(-1), schema))
    if parquet is None:
        return 0, 0
    parquet.close()
    return file.length, file.item_shape[0] if file.item_shape else schema.field(0).type.list_size


def to_static_columns(statics: StaticCovariates) -> dict[str, pl.Series]:
    """Name static covariates as columns of the sequence table: `code_0`..., `number_0`..."""
    codes, numbers = statics
    return {f"code_{index}": pl.Series(codes[:, index]) for index in range(codes.shape[1])} | {
        f"number_{index}": pl.Series(numbers[:, index]) for index in range(numbers.shape[1])
    }


def read_static_covariates(table: pl.DataFrame) -> StaticCovariates:
    """Read the static covariates of these sequences, see `to_static_columns`."""
    codes = [name for name in table.columns if name.startswith("code_")]
    numbers = [name for name in table.columns if name.startswith("number_")]
    rows = len(table)
    return StaticCovariates(
        table.select(codes).to_numpy() if codes else np.empty((rows, 0), np.int32),
        table.select(numbers).to_numpy() if numbers else np.empty((rows, 0), np.float32),
    )


def read_sequences(
    folder: Path, split: int, *, known_only: bool = False, columns: Sequence[str] = ("*",)
) -> pl.DataFrame:
    """Read the sequences of a split.

    Args:
        folder: of the artifact.
        split: its code.
        known_only: leave out sequences whose class does not occur in training.
        columns: to read.
    """
    rows = pl.scan_parquet(folder / "sequences.parquet", glob=False)
    selected = rows.filter(pl.col("split") == split)
    if known_only:
        selected = selected.filter(pl.col("known"))
    return selected.select(columns).collect()


def _format_npy_header(dtype: np.dtype[Any], length: int, item_shape: tuple[int, ...]) -> bytes:
    """Write the header of a .npy file (format 1.0), padded to the same size for any length."""
    shape = (length, *item_shape)
    fields = f"{{'descr': '{dtype.str}', 'fortran_order': False, 'shape': {shape}, }}"
    magic = b"\x93NUMPY\x01\x00"
    text = fields.ljust(_HEADER_BYTES - len(magic) - 3) + "\n"
    return magic + len(text).to_bytes(2, "little") + text.encode("latin1")


def _build_step_schema(chunk_NC: NDArray[Any]) -> pa.Schema:
    """Describe steps as lists of C channels."""
    return pa.schema([("step", pa.list_(_ARROW_TYPES[chunk_NC.dtype.name], chunk_NC.shape[1]))])


def _open_steps_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open `steps.parquet`; floats compress better when split into byte streams, ids do not."""
    floats = pa.types.is_floating(schema.field(0).type.value_type)
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        use_byte_stream_split=floats,
    )


def _to_record_batch(values: NDArray[Any], schema: pa.Schema) -> pa.RecordBatch:
    """View [n * C] values as n lists of C channels, without a copy."""
    size = schema.field(0).type.list_size
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), size)
    return pa.record_batch([lists], schema=schema)
