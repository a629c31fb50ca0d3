"""Reading and writing the files of a features artifact.

`steps.parquet` is the record of the steps, `steps.npy` the same to be mapped into memory;
`answers.npy` holds the numbers of all answers, end to end or shared by windows;
`sequences.parquet` lists the sequences with their split, the places of their steps and of their
answers, and side inputs; `featurizer.json` (and `.safetensors`) is what was fitted;
`learned.safetensors` tells the rows of training and validation from all others.
Shapes: N steps, C channels, S sequences, M numbers of all answers.
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

from models.features.splitting.split import TEST, TRAINING, VALIDATION
from models.features.static_covariates import Statics

CHUNK_STEPS = 262_144
"""Steps that are written at once."""

HEADER_BYTES = 128

TYPES = {"float32": pa.float32(), "int32": pa.int32(), "uint8": pa.uint8()}

SPLITS = (TRAINING, VALIDATION, TEST)


def map_steps(folder: Path) -> NDArray[Any]:
    """Map the steps from disk as [steps, channels], without a copy."""
    steps: NDArray[Any] = np.load(folder / "steps.npy", mmap_mode="r", allow_pickle=False)
    return steps


def map_answers(folder: Path) -> NDArray[np.float32]:
    """Map the numbers of all answers from disk, [M], without a copy."""
    path = folder / "answers.npy"
    if path.stat().st_size == HEADER_BYTES:
        # A file without a number cannot be mapped.
        return np.empty(0, np.float32)
    answers: NDArray[np.float32] = np.load(path, mmap_mode="r", allow_pickle=False)
    return answers


class GrowingFile:
    """A NumPy file that grows with each chunk, so that nothing is held and nothing written twice.

    Its header, which says how many numbers there are, is put in its place at the end.
    """

    def __init__(self, path: Path, kind: type[np.generic] = np.float32) -> None:
        self.file = path.open("wb")
        self.count, self.rest, self.kind = 0, (), np.dtype(kind)
        self.file.write(header_of(self.kind, 0, self.rest))

    def append(self, chunk: NDArray[Any]) -> None:
        """Write the next numbers; all chunks are alike but for their length."""
        if not self.count:
            self.kind, self.rest = chunk.dtype, chunk.shape[1:]
        chunk.tofile(self.file)
        self.count += len(chunk)

    def __enter__(self) -> Self:
        """Begin to write."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Write the header, and close."""
        self.file.seek(0)
        self.file.write(header_of(self.kind, self.count, self.rest))
        self.file.close()


def write_answers(folder: Path, values_M: NDArray[np.float32]) -> None:
    """Write the numbers of all answers at once."""
    with GrowingFile(folder / "answers.npy") as file:
        file.append(values_M)


def write_steps(folder: Path, chunks: Iterable[NDArray[Any]]) -> tuple[int, int]:
    """Write chunks of steps into Parquet, and into a NumPy file that can be mapped.

    Returns:
        Steps and channels; (0, 0) where there is not one chunk.
    """
    parquet: pq.ParquetWriter | None = None
    with GrowingFile(folder / "steps.npy") as file:
        for chunk_NC in chunks:
            if parquet is None:
                schema = step_schema(chunk_NC)
                parquet = open_parquet(folder / "steps.parquet", schema)
            file.append(chunk_NC)
            for start in range(0, len(chunk_NC), CHUNK_STEPS):
                part = np.ascontiguousarray(chunk_NC[start : start + CHUNK_STEPS])
                parquet.write_batch(as_batch(part.reshape(-1), schema))
    if parquet is None:
        return 0, 0
    parquet.close()
    return file.count, file.rest[0] if file.rest else schema.field(0).type.list_size


def header_of(kind: np.dtype[Any], count: int, rest: tuple[int, ...]) -> bytes:
    """Write the header of a NumPy file (format 1.0), as long for any number of rows."""
    shape = (count, *rest)
    told = f"{{'descr': '{kind.str}', 'fortran_order': False, 'shape': {shape}, }}"
    magic = b"\x93NUMPY\x01\x00"
    text = told.ljust(HEADER_BYTES - len(magic) - 3) + "\n"
    return magic + len(text).to_bytes(2, "little") + text.encode("latin1")


def step_schema(chunk_NC: NDArray[Any]) -> pa.Schema:
    """Describe steps as lists of a fixed number of channels."""
    return pa.schema([("step", pa.list_(TYPES[chunk_NC.dtype.name], chunk_NC.shape[1]))])


def open_parquet(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open the record of the steps: numbers compress by their bytes, ids as words."""
    floats = pa.types.is_floating(schema.field(0).type.value_type)
    return pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        use_byte_stream_split=floats,
    )


def as_batch(values: NDArray[Any], schema: pa.Schema) -> pa.RecordBatch:
    """See an array as a list of channels a step, without a copy."""
    size = schema.field(0).type.list_size
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values), size)
    return pa.record_batch([lists], schema=schema)


def side_columns(statics: Statics) -> dict[str, pl.Series]:
    """Write side inputs as columns of the sequences' table."""
    codes, numbers = statics
    return {f"code_{place}": pl.Series(codes[:, place]) for place in range(codes.shape[1])} | {
        f"number_{place}": pl.Series(numbers[:, place]) for place in range(numbers.shape[1])
    }


def side_values(table: pl.DataFrame) -> Statics:
    """Read the side inputs of these sequences."""
    codes = [name for name in table.columns if name.startswith("code_")]
    numbers = [name for name in table.columns if name.startswith("number_")]
    rows = len(table)
    return Statics(
        table.select(codes).to_numpy() if codes else np.empty((rows, 0), np.int32),
        table.select(numbers).to_numpy() if numbers else np.empty((rows, 0), np.float32),
    )


def read_sequences(
    folder: Path, split: int, *, learned: bool = False, columns: Sequence[str] = ("*",)
) -> pl.DataFrame:
    """Read the sequences of a split.

    Args:
        folder: of the artifact.
        split: its code.
        learned: leave out those whose class training never showed.
        columns: that are read; all where left out.
    """
    rows = pl.scan_parquet(folder / "sequences.parquet", glob=False)
    chosen = rows.filter(pl.col("split") == split)
    if learned:
        chosen = chosen.filter(pl.col("known"))
    return chosen.select(columns).collect()
