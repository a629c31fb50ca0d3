"""Draft the job of a table in which each row is a sequence of its own."""

import polars as pl

from flows.commands.drafting import column_kinds
from flows.commands.drafting.draft import DraftOptions, JobDraft
from flows.commands.drafting.groups import add_group
from flows.commands.drafting.targets import choose_target, guess_target_kind
from flows.commands.drafting.text_columns import choose_text_columns, explain_text_columns
from flows.commands.drafting.times import TimeColumn
from flows.commands.drafting.trees import labels_are_classes
from models.features.splitting.column_split import parse_split_names
from models.features.splitting.split import TEST, SplitConfig
from tasks.training.front import DOWNSAMPLE, LONG_SERIES

_FEW_TEST_ROWS = 100
"""Test rows below which the draft warns."""


def draft_row_table(
    scan: pl.LazyFrame,
    sample: pl.DataFrame,
    options: DraftOptions,
    *,
    kind: str,
    own: list[str],
    time: TimeColumn | None,
    split: str | None,
) -> JobDraft:
    """Draft inputs, target and split.

    Args:
        scan: all rows.
        sample: the first rows.
        options: what is told of the data.
        kind: kind of the input.
        own: columns that can be the input.
        time: the column with the time of a row, if there is one.
        split: the column with the split of a row, if there is one.

    Raises:
        DataError: no column can be the target.
    """
    columns = [n for n in own if n != options.target]
    if kind == "text":
        reserved = {name for name in (split, time.name if time else None) if name}
        columns = choose_text_columns(sample, own, reserved=reserved, target=options.target)
    columns = columns if kind in {"series", "text"} else columns[:1]
    taken = {*columns, split, time.name if time else None}
    target = choose_target(sample, [n for n in sample.columns if n not in taken], options)
    draft = JobDraft(
        kind=kind,
        columns=[name for name in columns if name != target],
        target=target,
        target_kind=guess_target_kind(sample[target]),
        split=split,
    )
    _add_time(draft, time)
    if number_format := column_kinds.find_number_format(sample[target]):
        draft.parse[target] = number_format
        draft.comments["target"] = f"the texts of '{target}' are numbers (source.parse)"
    if kind == "text" and len(draft.columns) > 1:
        draft.comments["inputs"] = explain_text_columns(sample, draft.columns)
    add_group(draft, sample, options)
    _note_unread_columns(draft, sample, own)
    if kind == "series":
        _shorten_long_series(draft, sample)
    if kind == "tree" and labels_are_classes(sample[draft.columns[0]], sample[target]):
        draft.input_options["supervise_nodes"] = "true"
        draft.comments["inputs"] = "the labels of nodes are classes of the target: they teach too"
    warn_few_test_rows(draft, _count_test_rows(scan, split))
    return draft


def warn_few_test_rows(draft: JobDraft, rows: int) -> None:
    """Note that the test split is small, if it is."""
    if rows < _FEW_TEST_ROWS:
        draft.notes.append(
            f"the test split has about {rows} rows: differences between models are mostly chance "
            "there; below gate.min_rows (50) a person has to approve a version"
        )


def _note_unread_columns(draft: JobDraft, sample: pl.DataFrame, own: list[str]) -> None:
    """Note the columns that the job does not read, and which of them may group rows."""
    unread = [name for name in sample.columns if name not in draft.used_columns]
    if not unread:
        return
    note = f"not read: {', '.join(unread)}"
    if draft.kind != "text" and set(unread) & set(own):
        note += (
            f"; a job reads one {draft.kind} column, here '{draft.columns[0]}': join them upstream "
            "if the others matter"
        )
    groups = [n for n in unread if sample[n].dtype == pl.String and n not in own]
    repeated = [n for n in groups if 1 < sample[n].n_unique() < len(sample) / 2]
    if repeated and not (draft.split or draft.group or draft.by_time):
        note += (
            f"; if rows of the same '{repeated[0]}' belong together, add "
            f"split: {{by: hash, group: {repeated[0]}}}"
        )
    draft.notes.append(note)


def _add_time(draft: JobDraft, time: TimeColumn | None) -> None:
    """Split by time where the rows have one and no split is given."""
    if time is None:
        return
    draft.time, draft.by_time = time.name, draft.split is None
    if time.formats:
        draft.parse[time.name] = time.formats[0]
    if draft.by_time:
        draft.comments["split"] = f"rows have a time ('{time.name}'): the newest are the test"


def _shorten_long_series(draft: JobDraft, sample: pl.DataFrame) -> None:
    """Downsample where the lists are long."""
    column = sample[draft.columns[0]]
    lengths = column.list.len() if isinstance(column.dtype, pl.List) else column.arr.len()
    median = lengths.median()
    if isinstance(median, int | float) and median >= LONG_SERIES:
        draft.downsample = DOWNSAMPLE
        draft.comments["model"] = (
            f"series have {median:.0f} steps (median): convolutions shorten them by "
            f"{DOWNSAMPLE} first, which is faster and usually more accurate"
        )


def _count_test_rows(scan: pl.LazyFrame, split: str | None) -> int:
    """Count the rows of the test split; about, where it is drawn by hash or time."""
    if split is None:
        return round(SplitConfig().test * int(scan.select(pl.len()).collect().item()))
    names = scan.group_by(split).len().collect(engine="streaming")
    return int(names.filter(parse_split_names(names[split]) == TEST)["len"].sum())
