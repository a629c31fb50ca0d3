"""Malformed data files in every format, each read by `ostinato check`."""

import io
import random
from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import polars as pl
from polars.exceptions import PolarsError

from tests.faults.endure import payloads
from tests.faults.endure.case import Case, judge_ended, shorten
from tests.faults.endure.workshop import Workshop
from tests.support.sample_jobs import SALES, WAVES, make_sales, make_waves, write_job

KIND = "malformed data"
COUNT, SLICE = 300, 14

_CODES = (0, 3, 4, 5)
"""Accepted (rows may be in quarantine), or refused as source, contract or data."""


class MalformedFile(NamedTuple):
    """A data file, and how it was derived."""

    productions: str
    content: bytes


class Format(NamedTuple):
    """A format of files."""

    suffix: str
    write: Callable[[pl.DataFrame], bytes]
    is_text: bool


def _write_parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _write_arrow(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_ipc(buffer)
    return buffer.getvalue()


PARQUET = Format("parquet", _write_parquet, is_text=False)
ARROW = Format("arrow", _write_arrow, is_text=False)
CSV = Format("csv", lambda table: table.write_csv().encode(), is_text=True)
JSON_LINES = Format("jsonl", payloads.write_json_lines, is_text=True)

_CELLS = {
    "sound": (payloads.make_sound, payloads.SOUND_PRODUCTIONS, "audio"),
    "picture": (payloads.make_picture, payloads.PICTURE_PRODUCTIONS, "image"),
}
"""Columns of files: how a valid one is made, what damages it, and the kind of the input."""

BASES = (
    ("waves", PARQUET), ("sales", CSV), ("waves", JSON_LINES), ("sales", PARQUET),
    ("waves", ARROW), ("sound", PARQUET), ("sales", JSON_LINES), ("picture", PARQUET),
    ("sales", ARROW), ("sales", CSV),
)  # fmt: skip


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List malformed files of each table and format in turn."""
    for index in range(count):
        base, form = BASES[index % len(BASES)]
        draw = random.Random(f"{seed}/{KIND}/{index}")
        derive = derive_cells if base in _CELLS else derive_file
        file = derive(base, form, draw)
        name = f"{index:03} {base}.{form.suffix}: {shorten(file.productions)}"
        yield Case(KIND, name, partial(judge_file, base, form, file))


def derive_file(base: str, form: Format, draw: random.Random) -> MalformedFile:
    """Derive a malformed file: of a malformed table, or malformed itself, or both."""
    table = make_waves(120) if base == "waves" else make_sales(120)
    names = []
    levels = {"table"} if draw.random() < 0.35 else {"text" if form.is_text else "bytes"}
    levels |= {"bytes"} if draw.random() < 0.2 else set()
    if "table" in levels:
        productions = [
            each
            for each in payloads.TABLE_PRODUCTIONS
            # No text holds such times.
            if not form.is_text or each is not payloads.shift_time
        ]
        produce = draw.choice(productions)
        try:
            table = produce(draw, table)
            content = form.write(table)
            names.append(produce.__name__)
        except (PolarsError, ValueError):
            # The format holds no such column.
            levels.add("bytes")
    if not names:
        content = form.write(make_waves(120) if base == "waves" else make_sales(120))
    for level, productions in (
        ("text", payloads.LINE_PRODUCTIONS),
        ("bytes", payloads.BYTE_PRODUCTIONS),
    ):
        if level in levels and content:
            mutate = draw.choice(productions)
            content = mutate(draw, content)
            names.append(mutate.__name__)
    return MalformedFile("; ".join(names), content)


def derive_cells(base: str, form: Format, draw: random.Random) -> MalformedFile:
    """Derive a table of sounds or pictures of which some, or all, are malformed."""
    make, productions, _ = _CELLS[base]
    mutate = draw.choice(productions)
    every = draw.choice([1, 2, 40])
    cells = [make(draw) for _ in range(80)]
    damaged = [mutate(draw, each) if index % every == 0 else each for index, each in
               enumerate(cells)]  # fmt: skip
    labels = [f"kind {index % 2}" for index in range(len(cells))]
    content = form.write(pl.DataFrame({base: damaged, "label": labels}))
    return MalformedFile(f"{mutate.__name__} in one of {every}", content)


def build_job(base: str, file_name: str) -> dict[str, object]:
    """Return the job that reads the file."""
    if base in _CELLS:
        [*_, kind] = _CELLS[base]
        job = WAVES | {"name": base, "inputs": [{"column": base, "kind": kind}]}
    else:
        job = WAVES if base == "waves" else SALES
    return job | {"source": job["source"] | {"uri": file_name}}


def judge_file(base: str, form: Format, file: MalformedFile, workshop: Workshop) -> str | None:
    """Check a job over the file, and judge how that ends."""
    folder = workshop.make_folder()
    file_name = f"input.{form.suffix}"
    (folder / file_name).write_bytes(file.content)
    job = write_job(folder, build_job(base, file_name))
    ended = workshop.commands.run(folder, "check", job.name)
    names = [file_name, *(["wave", "id", "label"] if base == "waves" else ["day", "sales"]), base]
    failure = judge_ended(ended, _CODES, names)
    workshop.delete_folder(folder)
    return failure
