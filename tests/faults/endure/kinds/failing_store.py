"""A store that fails one write in ten: runs are repeated until one ends well.

Below the product a library fails the opening or the writing of files, renames and links, on the
local disk; in S3 a server refuses requests. What such a run says is an error of the store, and what
it has finished stays finished; the end is the model of an undisturbed run.
"""

import errno
from collections.abc import Iterator
from functools import partial

from tests.faults.endure.case import Case, judge_ended
from tests.faults.endure.shim import STORE_PART, build_failing_store
from tests.faults.endure.workshop import (
    Workshop,
    list_leftovers,
    read_results,
    read_versions,
    run_job,
    write_inputs,
)

KIND = "failing store"
COUNT, SLICE = 12, 1

ONE_IN = 10
MAX_RUNS = 40
"""Runs after which a store of this kind has to have let one through."""

_CODES = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List stores that fail in another order, and by another error of the operating system."""
    for index in range(count):
        code = _CODES[index % len(_CODES)]
        judge = partial(judge_store, seed * 1_000 + index, code)
        yield Case(KIND, f"{index:02} {errno.errorcode[code]}", judge)


def judge_store(seed: int, code: int, workshop: Workshop) -> str | None:
    """Run a job until it ends well, and judge each of its ends, and what it has made."""
    expected = workshop.finished.results
    folder = workshop.make_folder(with_database=True)
    write_inputs(folder)
    names = [STORE_PART.rstrip("/"), "store"]
    for attempt in range(MAX_RUNS):
        variables = build_failing_store(seed * 100 + attempt, one_in=ONE_IN, code=code)
        ended = run_job(workshop.shimmed_flows, folder, **variables)
        if failure := judge_ended(ended, (0, 7), names):
            return f"run {attempt + 1}: {failure}"
        if leftovers := list_leftovers(folder):
            return f"run {attempt + 1}: left in .staging: {leftovers}"
        if ended.code == 0:
            break
    else:
        return f"none of {MAX_RUNS} runs ended well: {ended.errors}"
    if read_results(folder) != expected:
        return "the model is not that of an undisturbed run"
    if read_versions(folder) != [("waves", "1")]:
        return f"registered were {read_versions(folder)}"
    workshop.delete_folder(folder)
    return None
