"""Malformed job files, each read by `ostinato check`, which does all but train."""

from collections.abc import Iterator
from functools import partial

import polars as pl

from tests.faults.endure.case import Case, judge_ended, shorten
from tests.faults.endure.job_grammar import VALID_JOBS, MalformedJob, derive_job
from tests.faults.endure.workshop import Workshop
from tests.support.sample_jobs import make_sales, make_waves

KIND = "malformed jobs"
COUNT, SLICE = 300, 12

_CODES = (0, 2, 3, 4, 5, 6, 7)
"""Accepted, or refused for what the job or its data is; 1 is an error that nobody foresaw."""

_DATA = {
    "waves": make_waves(120),
    "sales": make_sales(120),
    "texts": pl.DataFrame(
        {
            "text": [f"word{index % 7} and word{index % 5}" for index in range(120)],
            "label": [f"kind {index % 2}" for index in range(120)],
        }
    ),
}


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List malformed job files derived from each of the valid ones in turn."""
    bases = list(VALID_JOBS)
    for index in range(count):
        base = bases[index % len(bases)]
        job = derive_job(base, f"{seed}/{KIND}/{index}")
        name = f"{index:03} {base}: {shorten(job.productions)}"
        yield Case(KIND, name, partial(judge_job, base, job))


def judge_job(base: str, job: MalformedJob, workshop: Workshop) -> str | None:
    """Check the job file, and judge how that ends."""
    folder = workshop.make_folder()
    _DATA[base].write_parquet(folder / f"{base}.parquet")
    (folder / f"{base}.yaml").write_bytes(job.content)
    ended = workshop.commands.run(folder, "check", f"{base}.yaml")
    names = [job.key] if job.key and job.is_refused else [base, *_DATA[base].columns]
    failure = judge_ended(ended, _CODES, names)
    if failure is None and job.is_refused and ended.code != 2:
        failure = f"it was accepted, with exit code {ended.code}: {shorten(ended.errors)}"
    workshop.delete_folder(folder)
    return failure
