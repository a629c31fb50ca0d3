"""Several rows at one time of a series: averaged where they are few and the steps are even."""

import polars as pl

from flows.commands.drafting.column_kinds import is_key
from flows.commands.drafting.draft import JobDraft
from tasks.errors import DataError

_MAX_SHARE = 0.05
"""Share of rows that repeat a time up to which they are averaged."""

_MIN_EVEN = 0.8
"""Share of the steps between times that have the usual length, from which a grid fits."""

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def merge_repeated_times(draft: JobDraft, frame: pl.DataFrame) -> pl.DataFrame:
    """Draft a regular grid where a few rows repeat a time; return the table without them.

    Args:
        draft: with the roles of the columns.
        frame: the table, with times parsed.

    Raises:
        DataError: many rows repeat a time, or the times fit no grid.
    """
    keys = [name for name in (draft.entity, draft.time) if name]
    repeated = frame.select(keys).is_duplicated()
    if not repeated.any():
        return frame
    unique = frame.unique(keys, keep="last", maintain_order=True)
    extra = len(frame) - len(unique)
    step = _find_step(unique, draft)
    if step is None or extra > _MAX_SHARE * len(frame):
        raise _build_error(frame, draft, repeated)
    draft.input_options["frequency"] = step
    draft.notes.append(
        f"{extra} rows repeat the '{draft.time}' of another row: frequency: {step} averages them"
    )
    return unique


def _find_step(unique: pl.DataFrame, draft: JobDraft) -> str | None:
    """Find the usual step between times, as a frequency; None where they are uneven."""
    time = pl.col(draft.time or "")
    if not unique[draft.time or ""].dtype.is_temporal():
        return None
    seconds = time.cast(pl.Datetime("us")).diff().dt.total_seconds()
    ordered = unique.sort([*([draft.entity] if draft.entity else []), draft.time or ""])
    gaps = ordered.select(seconds.over(draft.entity) if draft.entity else seconds).to_series()
    gaps = gaps.drop_nulls()
    usual = gaps.mode().min()
    if not isinstance(usual, int) or usual <= 0:
        return None
    if int((gaps == usual).sum()) < _MIN_EVEN * len(gaps):
        return None
    unit = next(unit for unit, length in _UNITS.items() if usual % length == 0)
    return f"{usual // _UNITS[unit]}{unit}"


def _build_error(frame: pl.DataFrame, draft: JobDraft, repeated: pl.Series) -> DataError:
    """Build the error for a table with several rows at one time."""
    first = frame.filter(repeated).row(0, named=True)
    where = f"'{first[draft.entity]}'" if draft.entity else "the table"
    columns = [n for n in frame.columns if n not in {draft.time, draft.entity}]
    pair = _find_pair(frame, draft, columns)
    hint = (
        f"'{pair[0]}' and '{pair[1]}' together identify a series: join them in one column upstream "
        "and name it with --entity"
        if pair
        else "name the column that identifies a series with --entity, or remove repeated rows "
        "upstream"
    )
    return DataError.of(
        f"{where} has several rows at one '{draft.time}'",
        found=f"{int(repeated.sum())} such rows, first at {first[draft.time or '']}",
        hint=hint,
    )


def _find_pair(frame: pl.DataFrame, draft: JobDraft, columns: list[str]) -> tuple[str, str] | None:
    """Find two columns that make a repeated time unique; None where there are none."""
    names = [
        n for n in columns
        if (frame.schema[n] == pl.String or frame.schema[n].is_integer()) and not is_key(frame[n])
    ][:8]  # fmt: skip
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            if not frame.select(draft.time or "", first, second).is_duplicated().any():
                return first, second
    return None
