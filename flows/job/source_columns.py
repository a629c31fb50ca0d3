"""Columns that a job names besides its inputs and targets: refused where the source lacks them.

Inputs and targets are in the data contract. These are not, and a misspelt one would be noticed
after the training, or never.
"""

from collections.abc import Collection, Iterator
from difflib import get_close_matches

from flows.job.job import Job
from tasks.errors import JobError

_MAX_SHOWN_COLUMNS = 30


def check_source_columns(job: Job, columns: Collection[str], promised: Collection[str]) -> None:
    """Check that the source has every column that a key of the job names.

    Args:
        job: the job.
        columns: names of the source's columns.
        promised: columns that the contract names: where the source lacks one, it breaks the
            contract, and the job is right.

    Raises:
        JobError: names each key and its column.
    """
    lines = [
        f"{key}: the source has no column '{name}'{_suggest(name, columns)}"
        for key, name in _list_named_columns(job)
        if name not in columns and name not in promised
    ]
    if lines:
        shown = ", ".join(list(columns)[:_MAX_SHOWN_COLUMNS])
        more = ", ..." if len(columns) > _MAX_SHOWN_COLUMNS else ""
        raise JobError.of(
            "\n".join(lines),
            found=f"It has: {shown}{more}",
            hint="correct the names in the job file",
        )


def _list_named_columns(job: Job) -> Iterator[tuple[str, str]]:
    """Yield the key and the name of each such column."""
    names = {
        "source.time": job.source.time,
        "source.watermark": job.source.watermark,
        "source.entity": job.source.entity,
        "split.id": job.split.id,
        "split.group": job.split.group,
        "split.column": job.split.column,
    }
    yield from ((key, name) for key, name in names.items() if name)
    yield from (("evaluation.slices", name) for name in job.evaluation.slices)


def _suggest(name: str, columns: Collection[str]) -> str:
    """Return a question with the most similar column; empty for none."""
    similar = get_close_matches(name, columns, n=1)
    return f"; did you mean '{similar[0]}'?" if similar else ""
