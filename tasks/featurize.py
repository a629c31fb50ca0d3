"""Turn accepted rows into jagged sequences, with all that is fitted taken from training alone.

The artifact holds `steps` (float32, one list of channels a step) as Parquet for the record and as
Arrow IPC for memory-mapping, `sequences.parquet` (row, split, start, stop, target) and
`featurizer.json`.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from prefect import task

from models.errors import UnlearnableError
from models.features import Layout, TargetConfig
from models.features.featurizer import (
    Featurizer,
    check_columns,
    raw_steps,
    to_json,
)
from models.features.image import ImageShape, fit_shape
from models.features.plan import Plan, make_plan
from models.features.scaler import fit_scaler
from models.features.split import NAMES, TEST, TRAINING, UNUSED, VALIDATION, SplitConfig
from models.features.steps import Steps
from models.features.target import check_target, fit_target
from tasks.artifacts import Accepted, Facts, Features
from tasks.errors import DataError
from tasks.features_files import CHUNK_STEPS, write_steps
from tasks.publish import Recipe, produce
from tasks.rows import RowSet, open_rows
from tasks.stage import HOUR, STAGE, logger
from tasks.store import Store, StoreConfig, open_store

VERSION = 1


def frames_of(rows: RowSet, layout: Layout) -> Iterator[pl.DataFrame]:
    """Give the rows in frames that fit in memory; a long series comes whole."""
    if layout.window:
        yield rows.scan().select(layout.raw_columns).collect(engine="streaming")
    else:
        yield from rows.frames(layout.raw_columns)


def read_all(rows: RowSet, layout: Layout, shape: ImageShape | None, raw: Path) -> Steps:
    """Read every row's steps once; their values go to a file and come back memory-mapped."""
    starts, stops, errors = [], [], []
    offset, channels = 0, 1
    with raw.open("wb") as file:
        for frame in frames_of(rows, layout):
            steps = raw_steps(frame, layout, shape)
            steps.values_NC.tofile(file)
            starts.append(steps.starts_R + offset)
            stops.append(steps.stops_R + offset)
            errors += steps.errors_R
            offset, channels = offset + len(steps.values_NC), steps.values_NC.shape[1]
    if offset == 0:
        first = next((error for error in errors if error), "there are no rows")
        raise UnlearnableError(f"no row could be read: {first}")
    values = np.memmap(raw, np.float32, "r", shape=(offset, channels))
    return Steps(values, np.concatenate(starts), np.concatenate(stops), errors)


def training_chunks(steps: Steps, plan: Plan, layout: Layout) -> Iterator[Any]:
    """Give the steps that training may learn its scale from.

    For windows these are the rows of the training period (or of the training series), for rows
    with steps of their own the steps of the training rows.
    """
    if layout.window:
        rows = np.flatnonzero((plan.splits_R == TRAINING) & readable(steps))
        edges = np.zeros(len(steps.values_NC) + 1, np.int64)
        np.add.at(edges, steps.starts_R[rows], 1)
        np.add.at(edges, steps.stops_R[rows], -1)
        chosen = np.cumsum(edges[:-1]) > 0
    else:
        lengths = steps.stops_R - steps.starts_R
        chosen = np.repeat(plan.splits_R == TRAINING, lengths)
    for start in range(0, len(chosen), CHUNK_STEPS):
        part = chosen[start : start + CHUNK_STEPS]
        if part.any():
            yield steps.values_NC[start : start + CHUNK_STEPS][part]


def readable(steps: Steps) -> NDArray[np.bool_]:
    """Mark the rows that could be read."""
    return np.array([error is None for error in steps.errors_R], bool)


def fit(
    rows: RowSet, plan: Plan, *, layout: Layout, target: TargetConfig, raw: Path
) -> tuple[Featurizer, Steps, pl.Series]:
    """Read the rows and fit all state on the training split."""
    answers = rows.scan().select(target.column).collect().to_series()
    used = np.flatnonzero(plan.splits_R != UNUSED)
    check_target(answers.gather(plan.answer_R[used]), target)
    training_rows = np.flatnonzero(plan.splits_R == TRAINING)
    shape = first_shape(rows, layout, training_rows) if layout.input.kind == "image" else None
    steps = read_all(rows, layout, shape, raw)
    kept = np.flatnonzero((plan.splits_R == TRAINING) & readable(steps))
    if len(kept) == 0:
        raise UnlearnableError(nothing_left(steps, "training", layout))
    scaler = fit_scaler(
        training_chunks(steps, plan, layout),
        columns=list(layout.input.columns),
        shared=layout.input.kind == "image",
    )
    fitted = fit_target(answers.gather(plan.answer_R[kept]), target)
    featurizer = Featurizer(
        layout=layout, scaler=scaler, target=fitted, split=plan.split, shape=shape
    )
    return featurizer, steps, answers


def first_shape(rows: RowSet, layout: Layout, chosen_R: NDArray[np.int64]) -> ImageShape:
    """Take the image shape from the first training row that can be read."""
    column = layout.input.columns[0]
    seen = 0
    for frame in rows.frames([column]):
        here = chosen_R[(chosen_R >= seen) & (chosen_R < seen + len(frame))] - seen
        if len(here):
            return fit_shape(frame[column].gather(here))
        seen += len(frame)
    raise UnlearnableError(f"column '{column}' has no rows in the training split")


def nothing_left(steps: Steps, name: str, layout: Layout) -> str:
    """Say why a split has no sequences."""
    first = next((error for error in steps.errors_R if error), None)
    hint = f" (the first row that cannot be used: {first})" if first else ""
    mend = "shorten window.length or window.horizon, or " if layout.window else ""
    return f"the {name} split has no sequences{hint}; {mend}give more data, or change split"


def sequence_table(
    plan: Plan, steps: Steps, featurizer: Featurizer, answers: pl.Series
) -> pl.DataFrame:
    """List every usable sequence with its split and encoded answer.

    Raises:
        UnlearnableError: a split is left without sequences.
    """
    rows = np.flatnonzero((plan.splits_R != UNUSED) & readable(steps))
    table = pl.DataFrame(
        {
            "row": rows,
            "split": plan.splits_R[rows],
            "start": steps.starts_R[rows],
            "stop": steps.stops_R[rows],
            "answer_row": plan.answer_R[rows],
            "target": featurizer.target.encode(answers.gather(plan.answer_R[rows])),
        }
    )
    for split in (TRAINING, VALIDATION, TEST):
        known = table.filter((pl.col("split") == split) & known_target(featurizer))
        if known.is_empty():
            raise UnlearnableError(nothing_left(steps, NAMES[split], featurizer.layout))
    return table


def known_target(featurizer: Featurizer) -> pl.Expr:
    """Mark sequences whose class training has shown."""
    return pl.col("target") >= 0 if featurizer.target.classes else pl.lit(value=True)


def build_features(
    folder: Path, rows: RowSet, *, layout: Layout, target: TargetConfig, split: SplitConfig
) -> Facts:
    """Fill `folder` with the features of these rows.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    scan = rows.scan()
    check_columns(scan, layout)
    require(rows.schema, [target.column, *([split.group] if split.group else [])])
    plan = make_plan(scan, layout, split)
    raw = folder / "raw.bin"
    featurizer, steps, answers = fit(rows, plan, layout=layout, target=target, raw=raw)
    table = sequence_table(plan, steps, featurizer, answers)
    write_steps(folder, steps, featurizer)
    raw.unlink()
    table.write_parquet(folder / "sequences.parquet", compression="zstd")
    text = json.dumps(to_json(featurizer), indent=2, ensure_ascii=False)
    (folder / "featurizer.json").write_text(text, encoding="utf-8")
    return summary(table, steps, featurizer)


def require(schema: pl.Schema, names: Sequence[str]) -> None:
    """Refuse a table without these columns."""
    for name in names:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )


def summary(table: pl.DataFrame, steps: Steps, featurizer: Featurizer) -> dict[str, Any]:
    """Count what the features hold."""
    counts = dict(table.group_by("split").len().rows())
    unreadable = [error for error in steps.errors_R if error]
    return {
        **{NAMES[split]: counts.get(split, 0) for split in (TRAINING, VALIDATION, TEST)},
        "steps": len(steps.values_NC),
        "channels": featurizer.channels,
        "classes": list(featurizer.target.classes),
        "unreadable": len(unreadable),
        "first_unreadable": unreadable[0] if unreadable else None,
        "unseen_classes": int((table["target"] < 0).sum()) if featurizer.target.classes else 0,
    }


def make_features(
    accepted: Accepted,
    store: Store,
    *,
    layout: Layout,
    target: TargetConfig,
    split: SplitConfig,
) -> Features:
    """Return the features of the accepted rows.

    Raises:
        DataError: the rows keep their contract, but nothing can be learned from them.
    """
    recipe = Recipe(
        stage="featurize",
        version=VERSION,
        config={"layout": layout, "target": target, "split": split},
        # The contract as such is no part of it: only which rows it left.
        inputs={"rows": accepted.facts["rows_key"]},
    )

    def build(folder: Path) -> Facts:
        try:
            return build_features(
                folder, open_rows(store, accepted), layout=layout, target=target, split=split
            )
        except UnlearnableError as error:
            raise DataError.of(str(error)) from error

    return Features(produce(store, recipe, build))


@task(
    name="featurize",
    task_run_name="featurize {layout.input.kind}",
    timeout_seconds=6 * HOUR,
    **STAGE,
)
def featurize(
    accepted: Accepted,
    *,
    layout: Layout,
    target: TargetConfig,
    split: SplitConfig,
    store: StoreConfig,
) -> Features:
    """Turn the accepted rows into sequences."""
    features = make_features(accepted, open_store(store), layout=layout, target=target, split=split)
    facts = features.facts
    logger().info(
        "%s training, %s validation, %s test sequences of %s channels",
        facts["training"],
        facts["validation"],
        facts["test"],
        facts["channels"],
    )
    if facts["unreadable"] and not layout.window:
        logger().warning(
            "%s rows cannot be read and are left out; the first: %s",
            facts["unreadable"],
            facts["first_unreadable"],
        )
    return features
