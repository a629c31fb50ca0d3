"""`ostinato init`: draft a job file and a contract from the data; their owner reviews both."""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import polars as pl

from data_contracts.contract import format_contract
from data_contracts.draft import draft_contract
from flows.commands.contracts import build_source
from flows.commands.drafting import column_kinds
from flows.commands.drafting.draft import DraftOptions, JobDraft
from flows.commands.drafting.job_text import format_job
from flows.commands.drafting.long_table import draft_long_table
from flows.commands.drafting.row_table import draft_row_table
from flows.commands.drafting.target_columns import split_target_names
from flows.commands.drafting.times import TimeColumn, find_time, guess_formats
from flows.runtime.damaged_artifacts import remake_damaged
from models.features.splitting.column_split import parse_split_names
from models.features.splitting.split import TEST, TRAINING
from tasks.dataset.rowset import open_snapshot
from tasks.errors import DataError, JobError
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.ingestion.tables.row_range import suggest_name
from tasks.storage.store import StoreConfig, open_store

_SAMPLE_ROWS = 10_000

_MAX_ROWS = 2_000_000
"""First rows of a long table that are looked at."""


class DraftedFiles(NamedTuple):
    """The files that were written, and what their owner should know."""

    job: Path
    contract: Path
    notes: list[str]


def draft_job_files(
    data: str, options: DraftOptions, *, name: str | None, folder: Path, force: bool
) -> DraftedFiles:
    """Write `<name>.yaml` and `contracts/<name>.yaml` into the folder.

    Raises:
        SourceError: the data cannot be read.
        DataError: no job can be drafted from it, or an option does not fit it.
        JobError: a file exists already.
    """
    source = build_source(data)
    scan = _scan_source(source)
    draft = _draft_job(scan, options)
    name = name or _guess_name(data)
    job_path, contract_path = folder / f"{name}.yaml", folder / "contracts" / f"{name}.yaml"
    for path in (job_path, contract_path):
        if path.exists() and not force:
            raise JobError.of(f"{path} exists already", hint="overwrite it with --force")
    if draft.parse:
        source = replace(source, parse=draft.parse)
        scan = _scan_source(source)
    contract = draft_contract(
        scan,
        name=name,
        required_columns=tuple(draft.used_columns),
        target=None if draft.target_kind == "forecast" else draft.target,
    )
    contract_path.parent.mkdir(parents=True, exist_ok=True)
    contract_path.write_text(format_contract(contract), encoding="utf-8")
    text = format_job(draft, name=name, uri=data, contract=contract_path.as_posix())
    job_path.write_text(text, encoding="utf-8")
    return DraftedFiles(job_path, contract_path, draft.notes)


def _scan_source(source: SourceConfig) -> pl.LazyFrame:
    """Read the source into the store of this folder, and return its rows."""
    config = StoreConfig()
    store = open_store(config)
    return remake_damaged(
        config, lambda: open_snapshot(store, take_snapshot(source, store, remember=False)).scan()
    )


def _draft_job(scan: pl.LazyFrame, options: DraftOptions) -> JobDraft:
    """Draft the job of a table, by what its columns hold.

    Raises:
        DataError: no column can be read as a sequence, or no column can be the target.
    """
    sample = scan.head(_SAMPLE_ROWS).collect()
    options = split_target_names(options, sample.columns)
    _check_options(sample, options)
    split = _find_split(scan, sample)
    time = _find_time(sample, options)
    taken = {options.target, *options.targets, time.name if time else None}
    rest = [name for name in sample.columns if name not in taken]
    for kind, is_one in (
        ("image", column_kinds.is_image),
        ("audio", column_kinds.is_audio),
        ("series", column_kinds.is_list),
        ("tree", column_kinds.is_tree),
        ("text", column_kinds.is_prose if time or options.time else column_kinds.is_text),
    ):
        own = [name for name in rest if is_one(sample[name])]
        if own and not options.targets:
            time = _settle_format(scan, time, options)
            return draft_row_table(
                scan, sample, options, kind=kind, own=own, time=time, split=split
            )
    time = _settle_format(scan, time, options)
    plain = [
        n for n, dtype in sample.schema.items() if not dtype.is_nested() and dtype != pl.Binary
    ]
    frame = scan.select(plain).head(_MAX_ROWS).collect(engine="streaming")
    return draft_long_table(frame, options, time=time, split=split)


def _check_options(sample: pl.DataFrame, options: DraftOptions) -> None:
    """Check that the columns exist that are named on the command line.

    Raises:
        DataError: one does not.
    """
    named = [("target", name) for name in options.targets or [options.target]]
    for key, name in [*named, ("time", options.time), ("entity", options.entity)]:
        if name and name not in sample.columns:
            raise DataError.of(
                f"--{key}: column '{name}' is missing",
                found=f"Columns: {', '.join(sample.columns)}",
                hint=suggest_name(name, sample.columns),
            )
    if options.time_format and not options.time:
        raise DataError.of("--time-format: the column is not known", hint="name it with --time")


def _find_time(sample: pl.DataFrame, options: DraftOptions) -> TimeColumn | None:
    """Find the column of dates or times, but not in the target."""
    if options.time and options.time_format:
        return TimeColumn(options.time, (options.time_format,))
    targets = {options.target, *options.targets}
    names = [name for name in sample.columns if name not in targets]
    return find_time(sample.select(names), wanted=options.time)


def _settle_format(
    scan: pl.LazyFrame, time: TimeColumn | None, options: DraftOptions
) -> TimeColumn | None:
    """Return the time with one format that fits all rows; ask where two do.

    Raises:
        DataError: day and month cannot be told apart, and nobody can be asked.
    """
    if time is None or not time.formats or options.time_format:
        return time
    texts = scan.select(time.name).collect(engine="streaming")[time.name]
    formats = guess_formats(texts)
    examples = ", ".join(repr(text) for text in texts.drop_nulls().head(3))
    if len(formats) == 1:
        return TimeColumn(time.name, formats)
    if not formats:
        raise DataError.of(
            f"column '{time.name}' has no format that fits all of its texts",
            found=f"First: {examples}",
            hint='give it with --time and --time-format, such as --time-format "%d/%m/%Y"',
        )
    if options.ask is None:
        raise DataError.of(
            f"column '{time.name}': day and month cannot be told apart",
            found=f"First: {examples}",
            hint=f'add --time {time.name} --time-format "{formats[0]}" or "{formats[1]}"',
        )
    question = f"Which format does '{time.name}' have ({examples})?"
    return TimeColumn(time.name, (options.ask(question, list(formats)),))


def _find_split(scan: pl.LazyFrame, sample: pl.DataFrame) -> str | None:
    """Find the column that gives the split of each row, with training and test rows."""
    for name in sample.columns:
        if not column_kinds.is_split(sample[name]):
            continue
        names = scan.select(pl.col(name).unique()).collect(engine="streaming")[name]
        codes = parse_split_names(names)
        if {TRAINING, TEST} <= set(codes) and not codes.has_nulls():
            return name
    return None


def _guess_name(uri: str) -> str:
    """Derive a job's name from that of the data."""
    stem = Path(uri.rstrip("/*")).name.partition(".")[0].rstrip("*") or Path(uri).parent.name
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-_") or "job"
