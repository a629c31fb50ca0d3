"""The dataset of a scoring: parts that are written one by one, and a folder that appears at once.

Parts lie beside the dataset's place until the last is written, in a folder with a dot before its
name, where a scoring that was killed finds them again.
"""

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from itertools import chain, count, islice
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from tasks.dataset.row_groups import write_groups
from tasks.dataset.series_positions import ROW
from tasks.prediction.forecast_table import STEP
from tasks.prediction.predict import OK, Delayed
from tasks.records import Facts
from tasks.storage.artifacts import MANIFEST
from tasks.storage.store import Store, read_bytes, refusals_named

PART_FRAMES = 16
"""Frames of answers in a part; what a kill costs at most."""

SHOWN = 10
"""Rows, and reasons, that are told of."""

STALE_SECONDS = 86_400.0
"""Age from which parts of a scoring that was never finished are in nobody's use."""


def read_facts(output: Store, place: str) -> Facts | None:
    """Read what a dataset tells of itself; None where there is none."""
    data = read_bytes(output, f"{place}/{MANIFEST}")
    return None if data is None else dict(json.loads(data))


def work_dir(output: Store, place: str) -> Path:
    """Give the folder in which a dataset is made, with what a killed scoring has left."""
    parent = Path(output.root) if output.is_local else output.cache_dir
    folder = parent / f".{place}"
    with refusals_named(output):
        folder.mkdir(parents=True, exist_ok=True)
        for other in (*parent.glob(".v*-*"), *parent.glob(".staging/*")):
            if other != folder and time.time() - other.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(other, ignore_errors=True)
    return folder


def publish(output: Store, work: Path, place: str) -> None:
    """Give a finished folder its name, unless another scoring of the same was first."""
    with refusals_named(output):
        if output.is_local:
            target = Path(output.root) / place
            if not (target / MANIFEST).exists():
                work.rename(target)
            shutil.rmtree(work, ignore_errors=True)
            return
        for path in sorted(work.iterdir(), key=lambda path: path.name == MANIFEST):
            output.fs.put_file(str(path), f"{output.root}/{place}/{path.name}")
        shutil.rmtree(work, ignore_errors=True)


def write_parts(
    answers: Iterator[Delayed], work: Path, about: Mapping[str, Any], *, folder: Path
) -> None:
    """Write the parts that are not there, each whole or not at all; `folder` is for halves."""
    told = {f"ostinato.{key}": json.dumps(value) for key, value in about.items()}
    for place in count():
        first = next(answers, None)
        if first is None:
            return
        here, path = chain([first], islice(answers, PART_FRAMES - 1)), part_path(work, place)
        if path.exists():
            for _ in here:
                pass
            continue
        write_groups((as_arrow(each(), told) for each in here), folder / path.name, rows=0)
        work.mkdir(exist_ok=True)
        (folder / path.name).replace(path)


def part_path(work: Path, place: int) -> Path:
    """Name a part."""
    return work / f"part-{place:05}.parquet"


def as_arrow(frame: pl.DataFrame, told: Mapping[str, str]) -> pa.Table:
    """Hand answers over in types that every reader of Parquet knows, with what made them."""
    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return table.replace_schema_metadata(dict(told))


def counted(work: Path) -> dict[str, Any]:
    """Count the answers, and show the first ones and the first that failed."""
    lines = pl.scan_parquet(work / "part-*.parquet")
    names = lines.collect_schema().names()
    each = lines.filter(pl.col(STEP).is_null() | (pl.col(STEP) == 1)) if STEP in names else lines
    bad = pl.col("status") != OK
    totals = each.select(rows=pl.len(), failed=bad.sum()).collect(engine="streaming")
    failed = each.filter(bad).select(ROW, "status").head(SHOWN).collect(engine="streaming")
    return {
        **totals.to_dicts()[0],
        "lines": int(lines.select(pl.len()).collect().item()),
        "errors": failed.to_dicts(),
        "columns": names,
    }
