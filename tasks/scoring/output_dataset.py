"""Write a dataset of predictions part by part, and publish its folder atomically.

Until the last part is written, the parts lie in a hidden folder (`.<name>`) next to the dataset's
final folder, where a restarted scoring finds those of a killed one.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import polars as pl
import pyarrow as pa

from tasks.dataset.row_groups import write_row_groups
from tasks.dataset.series_positions import ROW
from tasks.facts import FileEntry, QualityFacts
from tasks.prediction.forecast_table import STEP
from tasks.prediction.predict import OK, LazyPredictions
from tasks.storage.artifacts import MANIFEST, parse_record
from tasks.storage.store import Store, read_bytes, translate_os_errors

PART_FRAMES = 16
"""Frames of predictions in a part; at most so many are lost when a scoring is killed."""

MAX_SHOWN_ROWS = 10
"""Predictions, and failed rows, that a page shows."""

_STALE_SECONDS = 86_400.0
"""Age from which the parts of an unfinished scoring are deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRow:
    """A row without a prediction."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    row: int
    """Its number in the snapshot, from 0."""
    status: str
    """Why there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringFacts:
    """A dataset of predictions; the content of its `manifest.json`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str
    """The registered model."""
    version: str
    """Its version."""
    run_id: str
    """The version's run in MLflow."""
    snapshot: str
    """Content hash of the scored snapshot."""
    classes: Sequence[str]
    """Classes of the target, as text."""
    snapshot_key: str
    """Key of the scored snapshot."""
    rows: int
    """Rows, or windows, to predict."""
    failed: int
    """Those among them without a prediction."""
    output_rows: int
    """Rows of the dataset; a forecast has one for each step."""
    errors: Sequence[FailedRow]
    """The first that failed."""
    columns: Sequence[str]
    """Columns of the dataset."""
    source_rows: int
    """Rows of the snapshot."""
    quality: QualityFacts | None
    """None where no target is known."""
    seconds: float
    """Time of the scoring."""
    resumed_parts: int
    """Parts that an interrupted scoring had left."""
    written_at: str
    """In UTC, ISO 8601."""
    parts: Mapping[str, FileEntry]
    """The dataset's files."""


def read_dataset_facts(output: Store, name: str) -> ScoringFacts | None:
    """Read the manifest of a dataset; None if there is no such dataset."""
    data = read_bytes(output, f"{name}/{MANIFEST}")
    if data is None:
        return None
    return parse_record(ScoringFacts, json.loads(data), f"{output.root}/{name}/{MANIFEST}")


def open_work_dir(output: Store, name: str) -> Path:
    """Return the folder in which a dataset is built, with the parts that a killed scoring left.

    Folders of unfinished scorings older than a day are deleted.
    """
    parent = Path(output.root) if output.is_local else output.cache_dir
    folder = parent / f".{name}"
    with translate_os_errors(output):
        folder.mkdir(parents=True, exist_ok=True)
        for other in (*parent.glob(".v*-*"), *parent.glob(".staging/*")):
            if other != folder and time.time() - other.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def publish_dataset(output: Store, work: Path, name: str) -> None:
    """Move a finished folder to its final name, unless another scoring has published it first."""
    with translate_os_errors(output):
        if output.is_local:
            target = Path(output.root) / name
            if not (target / MANIFEST).exists():
                work.rename(target)
            shutil.rmtree(work, ignore_errors=True)
            return
        for path in sorted(work.iterdir(), key=lambda path: path.name == MANIFEST):
            output.fs.put_file(str(path), f"{output.root}/{name}/{path.name}")
        shutil.rmtree(work, ignore_errors=True)


def write_parts(
    batches: Iterator[LazyPredictions],
    work: Path,
    metadata: Mapping[str, Any],
    *,
    folder: Path,
) -> None:
    """Write the parts that do not exist yet, each atomically.

    Args:
        batches: predictions, computed when called, in the order of the rows.
        work: folder of the parts.
        metadata: values for the Parquet schema's metadata, under `ostinato.<key>`.
        folder: for a part that is being written.
    """
    encoded = {f"ostinato.{key}": json.dumps(value) for key, value in metadata.items()}
    for number in count():
        first = next(batches, None)
        if first is None:
            return
        part = chain([first], islice(batches, PART_FRAMES - 1))
        path = _get_part_path(work, number)
        if path.exists():
            for _ in part:  # skip them without computing
                pass
            continue
        tables = (_convert_to_arrow(compute_batch(), encoded) for compute_batch in part)
        write_row_groups(tables, folder / path.name, rows=0)
        work.mkdir(exist_ok=True)
        (folder / path.name).replace(path)


class PartsSummary(NamedTuple):
    """Content of the parts of a dataset, as in `ScoringFacts`."""

    rows: int
    failed: int
    output_rows: int
    errors: list[FailedRow]
    columns: list[str]


def summarize_parts(work: Path) -> PartsSummary:
    """Count the rows and the failed ones; a forecast's steps count as one row."""
    output = pl.scan_parquet(work / "part-*.parquet")
    names = output.collect_schema().names()
    first_steps = (
        output.filter(pl.col(STEP).is_null() | (pl.col(STEP) == 1)) if STEP in names else output
    )
    has_failed = pl.col("status") != OK
    totals = first_steps.select(rows=pl.len(), failed=has_failed.sum()).collect(engine="streaming")
    failed = (
        first_steps.filter(has_failed)
        .select(ROW, "status")
        .head(MAX_SHOWN_ROWS)
        .collect(engine="streaming")
    )
    rows, failed_rows = totals.row(0)
    return PartsSummary(
        rows=rows,
        failed=failed_rows,
        output_rows=int(output.select(pl.len()).collect().item()),
        errors=[FailedRow(row=row, status=status) for row, status in failed.iter_rows()],
        columns=names,
    )


def _get_part_path(work: Path, number: int) -> Path:
    return work / f"part-{number:05}.parquet"


def _convert_to_arrow(frame: pl.DataFrame, metadata: Mapping[str, str]) -> pa.Table:
    """Convert predictions to types that every Parquet reader knows, and add the metadata."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.replace_schema_metadata(dict(metadata))
