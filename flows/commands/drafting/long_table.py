"""Draft the job of a long table: one row per step, with a time and numbers as channels."""

from collections.abc import Iterable

import polars as pl

from flows.commands.drafting.column_kinds import (
    MAX_CLASSES,
    find_number_format,
    is_key,
    is_row_number,
)
from flows.commands.drafting.draft import DraftOptions, JobDraft
from flows.commands.drafting.job_text import quote
from flows.commands.drafting.repeated_times import merge_repeated_times
from flows.commands.drafting.row_table import warn_few_test_rows
from flows.commands.drafting.target_columns import choose_targets
from flows.commands.drafting.targets import is_number, is_series_number
from flows.commands.drafting.times import TimeColumn, find_step
from flows.commands.drafting.window_plan import plan_window
from models.features.text_columns import parse_text
from tasks.errors import DataError


def draft_long_table(
    frame: pl.DataFrame, options: DraftOptions, *, time: TimeColumn | None, split: str | None
) -> JobDraft:
    """Draft inputs, target and window.

    Args:
        frame: the table, without columns of bytes and lists.
        options: what is told of the data.
        time: the column of dates or times, if there is one.
        split: the column with the split of a row, if there is one.

    Raises:
        DataError: no column can be the time, or none has numbers.
    """
    keys = [
        n
        for n in frame.columns
        if _can_be_entity(frame[n]) and n not in {options.target, *options.targets, split}
    ]
    entity = options.entity
    if time is None:
        names = [options.time] if options.time else [n for n in keys if n != options.target]
        found = find_step(frame, entity=entity, names=names, keys=keys)
        if found is None:
            raise _build_no_sequence_error(frame, options.time)
        time, entity = found
    elif entity is None:
        entity = _find_entity(frame, time.name, keys)
    reserved = {time.name, entity, split}
    constant = _list_constant_columns(frame, entity)
    free = [n for n in frame.columns if n not in reserved and n not in constant]
    numbers = [n for n in frame.columns if n not in reserved and _can_be_channel(frame[n])]
    if not any(_is_class(frame[n]) or n in numbers for n in free):
        raise _build_no_sequence_error(frame, options.time)
    # A flag, such as a holiday, is rather an input; any other column comes before it.
    no_flags = [n for n in free if frame.schema[n] != pl.Boolean]
    targets = choose_targets(frame, no_flags or free, options, entity=entity)
    target = targets[-1]
    is_forecast = len(targets) > 1 or is_series_number(frame[target])
    columns = [n for n in numbers if n in {*free, *targets}] or numbers
    categories = [n for n in free if _is_class(frame[n]) or (n == target and not is_forecast)]
    draft = JobDraft(
        kind="series",
        columns=[
            n
            for n in columns
            if n not in categories and (n in targets or not is_row_number(frame[n]))
        ],
        category_columns=categories,
        target=target,
        target_kind="forecast" if is_forecast else "category",
        targets=targets if len(targets) > 1 else [],
        time=time.name,
        entity=entity,
        split=split,
    )
    _add_formats(draft, frame, time)
    _explain(draft, time, unused=[n for n in frame.columns if n not in draft.used_columns])
    typed = frame.with_columns(parse_text(pl.col(n), each) for n, each in draft.parse.items())
    test_rows = plan_window(draft, merge_repeated_times(draft, typed), options)
    warn_few_test_rows(draft, test_rows)
    return draft


def _add_formats(draft: JobDraft, frame: pl.DataFrame, time: TimeColumn) -> None:
    """Add the formats of numbers and times in texts, and the list of categories."""
    if draft.category_columns:
        names = ", ".join(map(quote, draft.category_columns))
        draft.input_options["categories"] = f"[{names}]"
    formats = {n: find_number_format(frame[n]) for n in [*draft.columns, *draft.target_columns]}
    draft.parse = {n: each for n, each in formats.items() if each}
    if time.formats:
        draft.parse[time.name] = time.formats[0]


def _explain(draft: JobDraft, time: TimeColumn, *, unused: list[str]) -> None:
    """Comment on the roles of the columns."""
    if time.is_step:
        draft.notes.append(
            f"'{time.name}' has whole numbers that rise evenly, so it is read as the time"
        )
    others = [name for name in draft.columns if name not in draft.target_columns]
    if draft.target_kind == "category":
        draft.comments["inputs"] = (
            f"categories: the past classes of '{draft.target}' are channels too, up to the step "
            "from which it is predicted"
        )
    if draft.target_kind == "forecast":
        past = f"the past of '{draft.target}' is a channel too"
        if draft.targets:
            past = f"the past of all {len(draft.targets)} columns that are forecast"
        draft.comments["inputs"] = (
            f"{past}; all other columns of numbers ({len(others)}) are inputs" if others else past
        )
        draft.comments["target"] = (
            f"the next steps of '{draft.target}'; another column with --target"
        )
        if draft.targets:
            draft.comments["target"] = (
                f"the next steps of these {len(draft.targets)} columns, forecast together; "
                f"for one alone write column: {draft.target}, or draft with --target"
            )
        if draft.entity:
            draft.input_options["scale_per"] = "entity"
            draft.comments["inputs"] += "; each entity has its own scale"
    if unused:
        names = ", ".join(name or "(a column without a name)" for name in unused)
        draft.notes.append(f"not read, for they are no numbers that change: {names}")


def _can_be_entity(column: pl.Series) -> bool:
    """Check whether a column may identify series: texts or whole numbers, each repeated."""
    return column.dtype == pl.String or column.dtype.is_integer()


def _can_be_channel(column: pl.Series) -> bool:
    """Check whether a column has numbers or flags."""
    return is_number(column) or column.dtype == pl.Boolean


def _is_class(column: pl.Series) -> bool:
    """Check whether a column has a few texts, each of them repeated."""
    return column.dtype == pl.String and 1 < column.n_unique() <= min(MAX_CLASSES, len(column) // 5)


def _find_entity(frame: pl.DataFrame, time: str, names: Iterable[str]) -> str | None:
    """Return the first column that makes a repeated time unique; None where there is none."""
    if not frame[time].is_duplicated().any():
        return None
    for name in names:
        if name == time or is_key(frame[name]):
            continue
        if not frame.select(time, name).is_duplicated().any():
            return name
    return None


def _list_constant_columns(frame: pl.DataFrame, entity: str | None) -> set[str]:
    """List the columns that have one value in each series."""
    names = [name for name in frame.columns if name != entity]
    counts = (
        frame.group_by(entity).agg(pl.col(names).n_unique()).select(pl.col(names).max())
        if entity
        else frame.select(pl.col(names).n_unique())
    )
    return {name for name in names if counts[name].item() <= 1}


def _build_no_sequence_error(frame: pl.DataFrame, time: str | None) -> DataError:
    """Build the error for a table in which nothing can be read as a sequence."""
    if time:
        return DataError.of(
            f"--time: column '{time}' does not order the rows",
            found=f"{frame.schema[time]}, such as {frame[time].head(3).to_list()}",
            hint="name a column of dates or times (with --time-format for texts), or of whole "
            "numbers that rise evenly within each series (--entity)",
        )
    return DataError.of(
        "no column can be read as a sequence",
        found="Columns: " + ", ".join(f"{name} ({dtype})" for name, dtype in frame.schema.items()),
        hint="a sequence is a text, an image (PNG, JPEG or WebP bytes), audio (WAV, FLAC or "
        "OGG bytes), a bracketed tree, a list of numbers, or a long table with a date or time "
        "column or an even whole-number step; name it with --time, convert the data, or write "
        "the job file by hand",
    )
