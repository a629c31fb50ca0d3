"""Run the endurance harness: `make endure`.

    python -m tests.faults.endure.runner [--kinds "malformed jobs,killed runs"] [--seed 1]
        [--slice] [--lanes 2] [--only TEXT] [--results FILE]

Each kind is a module with seeded cases; each case brings a fault about and judges what the product
made of it. With `--results`, the table is written into that file between its markers. The exit code
is 1 where a case failed.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import groupby
from pathlib import Path
from queue import Empty, SimpleQueue
from subprocess import SubprocessError
from types import ModuleType

import psutil

from tests.faults.endure.case import CannotRun, Case, NoSuchCase, Outcome
from tests.faults.endure.results import format_table, write_table
from tests.faults.endure.workshop import Workshop

MODULES = (
    "killed_runs", "first_runs", "damaged_store", "failing_store", "overlaps", "clocks", "hosts",
    "data_files", "jobs",
)  # fmt: skip
"""Those that wait for servers come first, so that the last minutes are of many short cases."""


HARNESS_ERRORS = (
    AssertionError, OSError, LookupError, ValueError, psutil.Error, SubprocessError,
)  # fmt: skip


def load_kinds() -> dict[str, ModuleType]:
    """Import the kinds, by their name."""
    modules = [import_module(f"tests.faults.endure.kinds.{name}") for name in MODULES]
    return {module.KIND: module for module in modules}


def list_cases(kinds: Iterable[ModuleType], seed: int, *, only_slice: bool) -> list[list[Case]]:
    """List the cases of each kind."""
    return [
        list(module.list_cases(seed, module.SLICE if only_slice else module.COUNT))
        for module in kinds
    ]


def run_cases(cases: Sequence[Case], *, lanes: int, report: bool = True) -> list[Outcome]:
    """Run cases in parallel lanes, each with resources of its own; the outcomes in their order."""
    waiting: SimpleQueue[tuple[int, Case]] = SimpleQueue()
    for each in enumerate(cases):
        waiting.put(each)
    outcomes: dict[int, Outcome] = {}
    root = Path(tempfile.mkdtemp(prefix="endure-"))

    def work(lane: int) -> None:
        workshop = Workshop(root / f"lane-{lane}")
        workshop.root.mkdir()
        try:
            while True:
                try:
                    index, case = waiting.get(block=False)
                except Empty:
                    return
                outcome = run_case(case, workshop)
                if outcome:
                    outcomes[index] = outcome
                if outcome and report:
                    print_outcome(outcome)
        finally:
            workshop.close()

    try:
        with ThreadPoolExecutor(lanes) as pool:
            try:
                list(pool.map(work, range(lanes)))
            finally:
                # After Ctrl-C each lane ends with its case.
                while not waiting.empty():
                    waiting.get()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return [outcomes[index] for index in sorted(outcomes)]


def run_case(case: Case, workshop: Workshop) -> Outcome | None:
    """Run one case; an error of the harness itself is a failure that says so.

    Returns:
        None where there is no such case.
    """
    start_time = time.perf_counter()
    skipped = False
    try:
        failure = case.judge(workshop)
    except NoSuchCase:
        return None
    except CannotRun as error:
        failure, skipped = str(error), True
    except HARNESS_ERRORS as error:
        failure = f"the harness: {type(error).__name__}: {str(error)[-300:]}"
    return Outcome(case.kind, case.name, failure, time.perf_counter() - start_time, skipped)


def print_outcome(outcome: Outcome) -> None:
    """Print a line of progress."""
    word = "skipped" if outcome.skipped else "FAILED" if outcome.failure else "held"
    line = f"{word:7} {outcome.seconds:6.1f} s  {outcome.kind}: {outcome.name}"
    print(f"{line}\n        {outcome.failure}" if outcome.failure else line, flush=True)


def parse_arguments(arguments: Sequence[str], kinds: Iterable[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    known = list(kinds)
    parser.add_argument("--kinds", default=",".join(known), help="comma-separated: %(default)s")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slice", action="store_true", help="a few cases of each kind")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--lanes", type=int, default=2, help="cases at a time")
    parser.add_argument("--results", type=Path, help="file whose table is replaced")
    options = parser.parse_args(arguments)
    options.kinds = [name.strip() for name in options.kinds.split(",")]
    if unknown := set(options.kinds) - set(known):
        parser.error(f"unknown kinds: {', '.join(sorted(unknown))}")
    return options


def main() -> int:
    """Run what is asked for, print the table, and return the exit code."""
    kinds = load_kinds()
    options = parse_arguments(sys.argv[1:], kinds)
    # Ended like by Ctrl-C, so that no server and no folder is left.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    start_time = time.perf_counter()
    chosen = [kinds[name] for name in options.kinds]
    listed = list_cases(chosen, options.seed, only_slice=options.slice)
    cases = [case for part in listed for case in part if options.only in case.name]
    outcomes = run_cases(cases, lanes=options.lanes)
    outcomes.sort(key=lambda outcome: options.kinds.index(outcome.kind))
    by_kind = {kind: list(part) for kind, part in groupby(outcomes, lambda each: each.kind)}
    minutes = (time.perf_counter() - start_time) / 60
    table = format_table(by_kind, seed=options.seed, minutes=minutes)
    print(table)
    if options.results:
        write_table(options.results, table)
    return int(any(each.failure and not each.skipped for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
