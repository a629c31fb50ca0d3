"""Batch scoring: a registered version answers every row of a source, into a dataset of Parquet.

The dataset is a folder of parts and a `manifest.json`, named by the version and by what was read,
so that the same question has the same place. A reader sees a whole dataset or none, and a killed
scoring goes on after the parts that it had. `latest.json` names the newest.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from prefect import task

from tasks.dataset.rowset import RowSet, open_snapshot
from tasks.errors import RegistryError
from tasks.evaluation.observed_quality import quality_of
from tasks.gate.comparison import GateConfig
from tasks.prediction.predict import (
    Delayed,
    Question,
    Scorer,
    open_scorer,
    refuse_unlike,
    row_answers,
)
from tasks.prediction.predict_windows import Which, window_answers
from tasks.records import Facts, Snapshot
from tasks.registry import versions
from tasks.scoring.config import Rows
from tasks.scoring.output_dataset import SHOWN, counted, publish, read_facts, work_dir, write_parts
from tasks.serving.model_package import hash_served
from tasks.storage.artifacts import MANIFEST, Recipe, file_table
from tasks.storage.store import (
    Store,
    StoreConfig,
    open_store,
    read_bytes,
    refusals_named,
    staging_dir,
    write_bytes,
)
from tasks.task_options import HOUR, STAGE, logger
from tasks.tracking.mlflow_client import TAG

VERSION = 1

LATEST = "latest.json"


class Asked(NamedTuple):
    """What is to be scored, by whom."""

    name: str
    number: str
    keep: tuple[str, ...]
    rows: Rows
    gate: GateConfig
    """By which answers are judged where the truth is known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """A dataset of answers; the last line of `ostinato score --json`."""

    model: str
    version: str
    run_id: str
    folder: str
    """Where the dataset is."""
    facts: Facts
    """`rows`, `failed`, `errors`, `quality`, `seconds` and more, as in its manifest."""
    recomputed: bool
    """False where the same version had answered the same rows before."""


def number_of(name: str, wanted: str) -> str:
    """Find the number of a version that is named by its alias or its number.

    Raises:
        RegistryError: there is none.
    """
    aliases = versions.aliases_of(name)
    if found := aliases.get(wanted):
        return found
    numbers = {str(each.version) for each in versions.versions_of(name)}
    if wanted in numbers:
        return wanted
    told = ", ".join(f"{alias} ({number})" for alias, number in sorted(aliases.items()))
    raise RegistryError.of(
        f"'{name}' has no version '{wanted}' that could answer",
        found=f"Versions: {', '.join(sorted(numbers, key=int)) or 'none'}; aliases: "
        f"{told or 'none'}",
        mend="name one of these, or train one: ostinato run" if numbers else "ostinato run JOB",
    )


def make_scores(asked: Asked, snapshot: Snapshot, store: Store, output: Store) -> Scored:
    """Return the dataset of a version's answers to a snapshot, made unless it is there.

    Raises:
        RegistryError: the version's files are not those that were registered.
        SourceError: the rows lack what it reads.
        StoreError: the output cannot be written.
    """
    found = versions.find_number(asked.name, asked.number)
    recipe = Recipe(
        stage="score",
        version=VERSION,
        config={"keep": list(asked.keep), "rows": asked.rows, "judged": judged_by(asked.gate)},
        inputs={
            "rows": snapshot.key,
            "model": found.tags.get(f"{TAG}files_hash") or str(found.run_id),
            "version": f"{asked.name}/{asked.number}",
        },
    )
    place = f"v{asked.number}-{recipe.key[:12]}"
    record = Scored(
        model=asked.name,
        version=asked.number,
        run_id=str(found.run_id),
        folder=f"{output.root}/{place}",
        facts={},
        recomputed=True,
    )
    facts, new = read_facts(output, place), False
    if facts is None:
        work = work_dir(output, place)
        facts, new = answer_all(asked, record, snapshot, stores=(store, output), work=work), True
        publish(output, work, place)
        # Of two scorings of the same, both tell what the first to finish came to.
        facts = read_facts(output, place) or facts
    name_latest(output, place, facts)
    return replace(record, facts=facts, recomputed=new)


def name_latest(output: Store, place: str, facts: Facts) -> None:
    """Let `latest.json` name a dataset, unless it does."""
    told = {"folder": place, "version": facts["version"], "written_at": facts["written_at"]}
    text = json.dumps(told, indent=2).encode()
    if read_bytes(output, LATEST) != text:
        write_bytes(output, LATEST, text)


def judged_by(gate: GateConfig) -> dict[str, Any]:
    """Name the settings that the quality in a manifest depends on."""
    return {name: getattr(gate, name) for name in ("metric", "confidence", "bootstrap_samples")}


def answer_all(
    asked: Asked, record: Scored, snapshot: Snapshot, *, stores: tuple[Store, Store], work: Path
) -> dict[str, Any]:
    """Write every part that is not there, and then the manifest."""
    began, left = time.perf_counter(), len(list(work.glob("part-*.parquet")))
    store, output = stores
    if left:
        logger().info("%s parts are there from a scoring that was cut short", left)
    files = versions.fetch_files(asked.name, asked.number)
    refuse_changed(asked, files)
    scorer, rows = open_scorer(files, asked.number), open_snapshot(store, snapshot)
    question = Question(scorer, rows, kept(asked, scorer, rows))
    refuse_unlike(question)
    about = {
        "model": record.model,
        "version": record.version,
        "run_id": record.run_id,
        "snapshot": snapshot.content_hash,
        "classes": [str(name) for name in scorer.featurizer.target.classes],
    }
    with staging_dir(output) as folder, refusals_named(output):
        write_parts(answers_of(question, asked.rows, folder), work, about, folder=folder)
    facts = {
        **about,
        "snapshot_key": snapshot.key,
        **counted(work),
        "source_rows": snapshot.facts["rows"],
        "quality": quality_of(work, scorer.featurizer, asked.gate),
        "seconds": round(time.perf_counter() - began, 3),
        "resumed_parts": left,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parts": {n: told for n, told in file_table(work).items() if n.startswith("part-")},
    }
    (work / MANIFEST).write_text(json.dumps(facts, indent=2, default=str), encoding="utf-8")
    return facts


def kept(asked: Asked, scorer: Scorer, rows: RowSet) -> tuple[str, ...]:
    """Name the columns that go with the answers, among those that there are."""
    layout = scorer.featurizer.layout
    own = (layout.entity, layout.time) if layout.window else ()
    wanted = dict.fromkeys([*(name for name in own if name), *asked.keep])
    if missing := [name for name in wanted if name not in rows.schema]:
        logger().warning("the source has no column %s to go with the answers", ", ".join(missing))
    return tuple(name for name in wanted if name in rows.schema)


def refuse_changed(asked: Asked, files: Path) -> None:
    """Refuse a version whose files are not those that were registered.

    Raises:
        RegistryError: they are not.
    """
    wanted = versions.find_number(asked.name, asked.number).tags.get(f"{TAG}files_hash")
    if wanted and hash_served(files) != wanted:
        raise RegistryError.of(
            f"{asked.name} version {asked.number} may not answer: its files are not those that "
            "were registered",
            mend="restore them from a copy of MLflow's storage, or name another version",
        )


def answers_of(question: Question, rows: Rows, folder: Path) -> Iterator[Delayed]:
    """Answer rows, or the windows that are asked for."""
    featurizer = question.scorer.featurizer
    if featurizer.layout.window is None:
        return row_answers(question)
    which: Which = "last" if featurizer.target.kind == "forecast" else "all"
    return window_answers(question, which if rows == "auto" else rows, folder)


def first_lines(output: Store, scored: Scored) -> pl.DataFrame:
    """Read the first answers of a dataset."""
    place = scored.folder.rpartition("/")[2]
    with output.fs.open(f"{output.root}/{place}/part-00000.parquet", "rb") as file:
        return pl.read_parquet(file, n_rows=SHOWN)


def output_store(name: str, output: str | None, store: StoreConfig) -> Store:
    """Open the place of a model's datasets."""
    uri = output or f"{store.uri.rstrip('/')}/scores/{name}"
    return open_store(StoreConfig(uri=uri, cache=store.cache))


class Told(NamedTuple):
    """A dataset, and its first answers as text."""

    scored: Scored
    shown: list[dict[str, Any]]


@task(name="score", task_run_name="score {asked.name}", timeout_seconds=24 * HOUR, **STAGE)
def score_rows(asked: Asked, snapshot: Snapshot, *, output: str | None, store: StoreConfig) -> Told:
    """Let a version answer a snapshot's rows."""
    place = output_store(asked.name, output, store)
    scored = make_scores(asked, snapshot, open_store(store), place)
    facts = scored.facts
    verb = "answered" if scored.recomputed else "nothing has changed: had answered"
    logger().info("version %s %s %s rows", scored.version, verb, facts["rows"])
    if facts["failed"]:
        logger().warning("%s rows have no answer but a reason", facts["failed"])
    return Told(scored, first_lines(place, scored).to_dicts())
