"""`ostinato init`: draft a job file and a contract from the data; their owner reviews both."""

import re
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from data_contracts.contract import format_contract
from data_contracts.draft import draft_contract
from flows.commands.contracts import build_source
from models.features.splitting.column_split import MEANINGS
from tasks.dataset.rowset import open_snapshot
from tasks.errors import DataError, JobError
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import StoreConfig, open_store

_TARGET_NAMES = ("target", "label", "class", "y", "category", "answer")

_IMAGE_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff")

_AUDIO_SIGNATURES = (b"RIFF", b"fLaC", b"OggS")

_SPLIT_NAMES = ("split", "fold", "subset")

_MAX_CLASSES = 50
"""Number of distinct values up to which an integer column is taken as classes."""

_SAMPLE_ROWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class _JobGuess:
    """The guessed role of each column."""

    kind: str
    columns: list[str]
    target: str
    target_kind: str
    time: str | None = None
    entity: str | None = None
    windowed: bool = False
    split: str | None = None


def draft_job_files(
    data: str, *, target: str | None, name: str | None, folder: Path, force: bool
) -> list[Path]:
    """Write `<name>.yaml` and `contracts/<name>.yaml` into the folder.

    Raises:
        SourceError: the data cannot be read.
        DataError: no job can be guessed from it.
        JobError: a file exists already.
    """
    store = open_store(StoreConfig())
    scan = open_snapshot(store, take_snapshot(build_source(data), store, remember=False)).scan()
    guess = _guess_job(scan.head(_SAMPLE_ROWS).collect(), target)
    name = name or _guess_name(data)
    job_path, contract_path = folder / f"{name}.yaml", folder / "contracts" / f"{name}.yaml"
    for path in (job_path, contract_path):
        if path.exists() and not force:
            raise JobError.of(f"{path} exists already", hint="overwrite it with --force")
    used = [*guess.columns, guess.time, guess.entity, guess.target, guess.split]
    columns = tuple(name for name in dict.fromkeys(used) if name)
    contract = draft_contract(scan, name=name, required_columns=columns, target=guess.target)
    contract_path.parent.mkdir(parents=True, exist_ok=True)
    contract_path.write_text(format_contract(contract), encoding="utf-8")
    text = _format_job(guess, name=name, uri=data, contract=contract_path.as_posix())
    job_path.write_text(text, encoding="utf-8")
    return [job_path, contract_path]


def _guess_job(frame: pl.DataFrame, target: str | None) -> _JobGuess:
    """Guess inputs and target from a sample.

    Raises:
        DataError: no column can be read as a sequence, or no column can be the target.
    """
    if target and target not in frame.columns:
        raise DataError.of(
            f"--target: column '{target}' is missing", found=f"Columns: {', '.join(frame.columns)}"
        )
    rest = [name for name in frame.columns if name != target]
    for kind, is_one in (("image", _is_image), ("audio", _is_audio), ("series", _is_list)):
        found = [name for name in rest if is_one(frame[name])]
        if found:
            own = found if kind == "series" else found[:1]
            return _guess_rows(frame, target, kind=kind, own=own)
    times = [name for name, dtype in frame.schema.items() if dtype.is_temporal()]
    for kind, is_one in (("tree", _is_tree), ("text", _is_text)):
        found = [name for name in rest if is_one(frame[name])]
        if found and not times:
            return _guess_rows(frame, target, kind=kind, own=found[:1])
    return _guess_long_table(frame, target)


def _guess_rows(frame: pl.DataFrame, target: str | None, *, kind: str, own: list[str]) -> _JobGuess:
    """Guess target and split of a table in which each row is a sequence of its own.

    Args:
        frame: the sample.
        target: the target where it is given.
        kind: kind of the input.
        own: columns of the input.
    """
    split = next((n for n in frame.columns if n not in own and _is_split(frame[n])), None)
    free = [name for name in frame.columns if name not in {*own, split}]
    chosen = target or _guess_target(frame, free)
    columns = [name for name in own if name != chosen]
    return _JobGuess(
        kind=kind,
        columns=columns,
        target=chosen,
        target_kind=_guess_target_kind(frame[chosen]),
        split=split,
    )


def _guess_long_table(frame: pl.DataFrame, target: str | None) -> _JobGuess:
    """Guess a long table: a time, perhaps an entity, and numbers as channels.

    Raises:
        DataError: there is no column of time, or no number.
    """
    times = [name for name, dtype in frame.schema.items() if dtype.is_temporal()]
    numbers = [name for name, dtype in frame.schema.items() if dtype.is_numeric()]
    if not times or not numbers:
        raise DataError.of(
            "no column can be read as a sequence",
            found="Columns: "
            + ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items()),
            hint="a sequence is a text, an image (PNG, JPEG or WebP bytes), audio (WAV, FLAC or "
            "OGG bytes), a bracketed tree, a list of numbers, or a long table with a date or time "
            "column; convert the data, or write the job file by hand",
        )
    time = times[0]
    entity = _guess_entity(frame, time, target)
    rest = [name for name in frame.columns if name not in {time, entity}]
    chosen = target or _guess_target(frame, rest)
    columns = [name for name in numbers if name != entity]
    return _JobGuess(
        kind="series",
        columns=columns,
        target=chosen,
        target_kind=_guess_target_kind(frame[chosen]),
        time=time,
        entity=entity,
        windowed=True,
    )


def _guess_entity(frame: pl.DataFrame, time: str, target: str | None) -> str | None:
    """Return the first column that makes a repeated time unique; None where there is none."""
    if not frame[time].is_duplicated().any():
        return None
    for name, dtype in frame.schema.items():
        if name in {time, target} or not (dtype == pl.String or dtype.is_integer()):
            continue
        if not frame.select(time, name).is_duplicated().any():
            return name
    return None


def _guess_target(frame: pl.DataFrame, names: list[str]) -> str:
    """Return the first column with a typical name, else the last text, else the last number.

    Raises:
        DataError: no column is left.
    """
    if typical := [name for name in names if name.lower() in _TARGET_NAMES]:
        return typical[0]
    labels = [n for n in names if frame.schema[n] in {pl.String, pl.Boolean}]
    usable = labels or [n for n in names if frame.schema[n].is_numeric()]
    if not usable:
        raise DataError.of("no column can be the target", hint="name it with --target")
    return usable[-1]


def _is_image(column: pl.Series) -> bool:
    """Check whether a column has image files, or rows of pixels."""
    first = column.drop_nulls().head(1)
    if column.dtype == pl.Binary:
        return bool(len(first)) and first[0].startswith(_IMAGE_SIGNATURES)
    inner = column.dtype.inner if isinstance(column.dtype, pl.List | pl.Array) else None
    return isinstance(inner, pl.List | pl.Array)


def _is_audio(column: pl.Series) -> bool:
    """Check whether a column has audio files."""
    first = column.drop_nulls().head(1)
    return column.dtype == pl.Binary and bool(len(first)) and first[0].startswith(_AUDIO_SIGNATURES)


def _is_tree(column: pl.Series) -> bool:
    """Check whether a column has bracketed trees."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls().head(100).str.strip_chars()
    closed = texts.str.starts_with("(") & texts.str.ends_with(")")
    return bool(len(texts)) and bool(closed.all())


def _is_text(column: pl.Series) -> bool:
    """Check whether a column has texts rather than names of classes."""
    if column.dtype != pl.String:
        return False
    texts = column.drop_nulls()
    return len(texts) > 0 and texts.n_unique() > max(_MAX_CLASSES, len(texts) // 5)


def _is_split(column: pl.Series) -> bool:
    """Check whether a column is named like a split and has only names of splits."""
    if column.dtype != pl.String or column.name.lower() not in _SPLIT_NAMES:
        return False
    names = column.drop_nulls().str.to_lowercase().unique()
    return {"test", "train"} <= {name[:5] for name in names} and names.is_in(list(MEANINGS)).all()


def _is_list(column: pl.Series) -> bool:
    """Check whether a column has lists of numbers."""
    dtype = column.dtype
    if not isinstance(dtype, pl.List | pl.Array):
        return False
    return pl.Series([], dtype=dtype.inner).dtype.is_numeric()


def _guess_target_kind(column: pl.Series) -> str:
    """Return `number` or `category`, by type and number of distinct values."""
    if column.dtype.is_float():
        return "number"
    if column.dtype.is_integer() and column.n_unique() > _MAX_CLASSES:
        return "number"
    return "category"


def _format_job(guess: _JobGuess, *, name: str, uri: str, contract: str) -> str:
    """Format the job file as a person would write it."""
    cell, pooling = ("tree-lstm", "last") if guess.kind == "tree" else ("gru", "mean")
    source = [f"uri: {_quote(uri)}"]
    source += [f"time: {_quote(guess.time)}"] if guess.time else []
    source += [f"entity: {_quote(guess.entity)}"] if guess.entity else []
    columns = ", ".join(map(_quote, guess.columns))
    column = columns if len(guess.columns) == 1 else f"[{columns}]"
    lines = [
        f"name: {name}",
        f"source: {{{', '.join(source)}}}",
        "inputs:",
        f"  - {{column: {column}, kind: {guess.kind}}}",
        f"target: {{column: {_quote(guess.target)}, kind: {guess.target_kind}}}",
    ]
    if guess.split:
        lines.append(f"split: {{by: column, column: {_quote(guess.split)}}}")
    if guess.windowed:
        lines.append("window: {lookback: 28, horizon: 1}  # input steps, steps ahead")
    lines += [
        f"contract: {_quote(contract)}",
        f"model: {{cell: {cell}, hidden_size: 128, num_layers: 1, pooling: {pooling}}}",
        "training: {epochs: 50, patience: 8, seed: 7}",
        '# schedule: {cron: "0 3 * * *", timezone: UTC}',
    ]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """Quote a text where YAML would read it as something else."""
    return text if re.fullmatch(r"[A-Za-z_./][\w./*-]*", text) else f'"{text}"'


def _guess_name(uri: str) -> str:
    """Derive a job's name from that of the data."""
    stem = Path(uri.rstrip("/*")).name.partition(".")[0].rstrip("*") or Path(uri).parent.name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "job"
