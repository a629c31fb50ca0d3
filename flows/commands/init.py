"""Draft a job file and a contract from the data itself; their owner reviews both."""

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_contracts.contract import to_yaml
from data_contracts.draft import draft_contract
from flows.commands.contracts import source_at
from models.features.splitting.column_split import MEANINGS
from tasks.dataset.rowset import open_snapshot
from tasks.errors import DataError, JobError
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import StoreConfig, open_store

TARGET_NAMES = ("target", "label", "class", "y", "category", "answer")

IMAGE_SIGNS = (b"\x89PNG", b"\xff\xd8\xff")

AUDIO_SIGNS = (b"RIFF", b"fLaC", b"OggS")

SPLIT_NAMES = ("split", "fold", "subset")

MAX_CLASSES = 50
"""Distinct values up to which a whole number is taken for a class."""

SAMPLE_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Guess:
    """What the columns seem to be."""

    kind: str
    columns: list[str]
    target: str
    target_kind: str
    time: str | None = None
    entity: str | None = None
    windowed: bool = False
    split: str | None = None


def guess(frame: pl.DataFrame, target: str | None) -> Guess:
    """Guess inputs and target from a sample.

    Raises:
        DataError: nothing in the table can be read as a sequence, or no target can be told.
    """
    if target and target not in frame.columns:
        raise DataError.of(
            f"--target: column '{target}' is missing", found=f"Columns: {', '.join(frame.columns)}"
        )
    rest = [name for name in frame.columns if name != target]
    for kind, is_one in (("image", is_image), ("audio", is_audio), ("series", is_list)):
        found = [name for name in rest if is_one(frame[name])]
        if found:
            own = found if kind == "series" else found[:1]
            return guess_of(frame, target, kind=kind, own=own)
    times = [name for name, dtype in frame.schema.items() if dtype.is_temporal()]
    for kind, is_one in (("tree", is_tree), ("text", is_text)):
        found = [name for name in rest if is_one(frame[name])]
        if found and not times:
            return guess_of(frame, target, kind=kind, own=found[:1])
    return guess_long(frame, target)


def guess_of(frame: pl.DataFrame, target: str | None, *, kind: str, own: list[str]) -> Guess:
    """Guess the rest of a table whose rows are sequences of their own.

    A column that is named like a split, and holds nothing but such names, says it.
    """
    split = next((n for n in frame.columns if n not in own and is_split(frame[n])), None)
    free = [name for name in frame.columns if name not in {*own, split}]
    chosen = target or guess_target(frame, free)
    columns = [name for name in own if name != chosen]
    return Guess(
        kind=kind,
        columns=columns,
        target=chosen,
        target_kind=kind_of(frame[chosen]),
        split=split,
    )


def guess_long(frame: pl.DataFrame, target: str | None) -> Guess:
    """Guess a long table: a time, perhaps an entity, numbers as channels."""
    times = [name for name, dtype in frame.schema.items() if dtype.is_temporal()]
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    if not times or not numbers:
        raise DataError.of(
            "no column can be read as a sequence",
            found="Columns: "
            + ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items()),
            mend="a sequence is a text, an image (PNG, JPEG or WebP bytes), a sound (WAV, FLAC or "
            "OGG bytes), a bracketed tree, a list of numbers, or a long table with a date or time "
            "column; convert the data, or write the job file by hand",
        )
    time = times[0]
    entity = guess_entity(frame, time, target)
    rest = [name for name in frame.columns if name not in {time, entity}]
    chosen = target or guess_target(frame, rest)
    columns = [name for name in numbers if name != entity]
    return Guess(
        kind="series",
        columns=columns,
        target=chosen,
        target_kind=kind_of(frame[chosen]),
        time=time,
        entity=entity,
        windowed=True,
    )


def guess_entity(frame: pl.DataFrame, time: str, target: str | None) -> str | None:
    """Find the column that makes a repeated time unique."""
    if not frame[time].is_duplicated().any():
        return None
    for name, dtype in frame.schema.items():
        if name in {time, target} or not (dtype == pl.String or dtype.is_integer()):
            continue
        if not frame.select(time, name).is_duplicated().any():
            return name
    return None


def guess_target(frame: pl.DataFrame, names: list[str]) -> str:
    """Take a column with a telling name, else the last text, else the last number.

    Raises:
        DataError: no column is left.
    """
    if telling := [name for name in names if name.lower() in TARGET_NAMES]:
        return telling[0]
    plain = [n for n in names if frame.schema[n] in {pl.String, pl.Boolean}]
    usable = plain or [n for n in names if frame.schema[n].is_numeric()]
    if not usable:
        raise DataError.of("no column can be the target", mend="name it with --target")
    return usable[-1]


def is_image(column: pl.Series) -> bool:
    """Tell whether a column holds image files, or rows of pixels."""
    first = column.drop_nulls().head(1)
    if column.dtype == pl.Binary:
        return bool(len(first)) and first[0].startswith(IMAGE_SIGNS)
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else None
    return isinstance(inner, pl.List | pl.Array)


def is_audio(column: pl.Series) -> bool:
    """Tell whether a column holds sound files."""
    first = column.drop_nulls().head(1)
    return column.dtype == pl.Binary and bool(len(first)) and first[0].startswith(AUDIO_SIGNS)


def is_tree(column: pl.Series) -> bool:
    """Tell whether a column holds bracketed trees."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls().head(100).str.strip_chars()
    closed = texts.str.starts_with("(") & texts.str.ends_with(")")
    return bool(len(texts)) and bool(closed.all())


def is_text(column: pl.Series) -> bool:
    """Tell whether a column holds texts rather than the names of classes."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls()
    return len(texts) > 0 and texts.n_unique() > max(MAX_CLASSES, len(texts) // 5)


def is_split(column: pl.Series) -> bool:
    """Tell whether a column says each row's split."""
    if column.dtype != pl.String or column.name.lower() not in SPLIT_NAMES:
        return False
    names = column.drop_nulls().str.to_lowercase().unique()
    return {"test", "train"} <= {name[:5] for name in names} and names.is_in(list(MEANINGS)).all()


def is_list(column: pl.Series) -> bool:
    """Tell whether a column holds lists of numbers."""
    dtype = column.dtype
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    return pl.Series([], dtype=dtype.inner).dtype.is_numeric()


def kind_of(column: pl.Series) -> str:
    """Tell a class from a number."""
    if column.dtype.is_float():
        return "number"
    if column.dtype.is_integer() and column.n_unique() > MAX_CLASSES:
        return "number"
    return "category"


def job_yaml(found: Guess, *, name: str, uri: str, contract: str) -> str:
    """Write the job as a person would."""
    cell, pooling = ("tree-lstm", "last") if found.kind == "tree" else ("gru", "mean")
    place = [f"uri: {quoted(uri)}"]
    place += [f"time: {quoted(found.time)}"] if found.time else []
    place += [f"entity: {quoted(found.entity)}"] if found.entity else []
    columns = ", ".join(map(quoted, found.columns))
    column = columns if len(found.columns) == 1 else f"[{columns}]"
    lines = [
        f"name: {name}",
        f"source: {{{', '.join(place)}}}",
        "inputs:",
        f"  - {{column: {column}, kind: {found.kind}}}",
        f"target: {{column: {quoted(found.target)}, kind: {found.target_kind}}}",
    ]
    if found.split:
        lines.append(f"split: {{by: column, column: {quoted(found.split)}}}")
    if found.windowed:
        lines.append("window: {length: 28, horizon: 1}  # steps seen, steps ahead")
    lines += [
        f"contract: {quoted(contract)}",
        f"model: {{cell: {cell}, hidden: 128, layers: 1, pooling: {pooling}}}",
        "training: {epochs: 50, patience: 8, seed: 7}",
        '# schedule: {cron: "0 3 * * *", timezone: UTC}',
    ]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Quote a text where YAML would read it as something else."""
    return text if re.fullmatch(r"[A-Za-z_./][\w./*-]*", text) else f'"{text}"'


def name_of(uri: str) -> str:
    """Make a job's name out of the data's own."""
    stem = Path(uri.rstrip("/*")).name.partition(".")[0].rstrip("*") or Path(uri).parent.name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "job"


def draft_files(
    data: str, *, target: str | None, name: str | None, folder: Path, force: bool
) -> list[Path]:
    """Write `<name>.yaml` and `contracts/<name>.yaml` into the folder.

    Raises:
        SourceError: the data cannot be read.
        DataError: no job can be guessed from it.
        JobError: a file is there already.
    """
    store = open_store(StoreConfig())
    scan = open_snapshot(store, take_snapshot(source_at(data), store, remember=False)).scan()
    found = guess(scan.head(SAMPLE_ROWS).collect(), target)
    name = name or name_of(data)
    job_path, contract_path = folder / f"{name}.yaml", folder / "contracts" / f"{name}.yaml"
    for path in (job_path, contract_path):
        if path.exists() and not force:
            raise JobError.of(f"{path} is there already", mend="--force writes over it")
    needed = [*found.columns, found.time, found.entity, found.target, found.split]
    columns = tuple(n for n in dict.fromkeys(needed) if n)
    contract = draft_contract(scan, name=name, needed=columns, target=found.target)
    contract_path.parent.mkdir(parents=True, exist_ok=True)
    contract_path.write_text(to_yaml(contract), encoding="utf-8")
    text = job_yaml(found, name=name, uri=data, contract=contract_path.as_posix())
    job_path.write_text(text, encoding="utf-8")
    return [job_path, contract_path]
