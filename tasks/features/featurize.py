"""Turn accepted rows into jagged sequences, with all that is fitted taken from training alone."""

from pathlib import Path

import polars as pl
from prefect import task

from data_contracts.engine.uniqueness import ROW
from data_contracts.quarantine import REASONS
from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import check_columns, save_featurizer
from models.features.splitting.split import (
    NAMES,
    TEST,
    TRAINING,
    VALIDATION,
    SplitConfig,
    split_columns,
)
from models.features.target import check_target
from tasks.dataset.quarantine import SHOWN_ROWS, origins_of, with_origin
from tasks.dataset.rowset import RowSet, open_rows, snapshot_of
from tasks.dataset.training_membership import write_learned
from tasks.errors import DataError
from tasks.features.row_features import row_features
from tasks.features.sequence_table import Made
from tasks.features.window_features import window_features
from tasks.records import Accepted, Facts, Features
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger

VERSION = 5


def build_features(
    folder: Path, rows: RowSet, *, layout: Layout, target: TargetConfig, split: SplitConfig
) -> Made:
    """Fill `folder` with the features of these rows.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    check_columns(rows.schema, layout)
    require(rows.schema, [*target.columns, *split_columns(split)])
    if target.column:
        check_target(rows.schema[target.column], target)
    make = window_features if layout.window else row_features
    made = make(folder, rows, layout=layout, target=target, split=split)
    save_featurizer(made.featurizer, folder)
    write_learned(folder, rows, made.featurizer)
    return made


def require(schema: pl.Schema, names: list[str]) -> None:
    """Refuse a table without these columns.

    Raises:
        UnlearnableError: names what is missing.
    """
    for name in names:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )


def summary(made: Made) -> Facts:
    """Count what the features hold."""
    return {
        **{NAMES[split]: made.counts.get(split, 0) for split in (TRAINING, VALIDATION, TEST)},
        "steps": made.steps,
        "channels": made.channels,
        "classes": list(made.featurizer.target.classes),
        "unreadable": len(made.reasons),
        "first_unreadable": next(iter(made.reasons.values()), None),
        "unseen_classes": made.unseen,
        "duplicates": made.duplicates,
    }


def set_aside(folder: Path, rows: RowSet, made: Made, origins: list[list[tuple[str, int]]]) -> None:
    """Write the rows that cannot be read to quarantine, with their reasons and their place."""
    if not made.reasons:
        return
    bad = list(made.reasons.items())[:SHOWN_ROWS]
    table = pl.DataFrame(
        {ROW: [row for row, _ in bad], REASONS: [[reason] for _, reason in bad]},
        schema={ROW: pl.UInt32, REASONS: pl.List(pl.String)},
    )
    with_origin(rows, table, origins).write_parquet(folder / "quarantine.parquet")


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
        rows = open_rows(store, accepted)
        try:
            made = build_features(folder, rows, layout=layout, target=target, split=split)
        except UnlearnableError as error:
            raise DataError.of(str(error)) from error
        set_aside(folder, rows, made, origins_of(snapshot_of(store, accepted)))
        return summary(made)

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
    opened = open_store(store)
    features = make_features(accepted, opened, layout=layout, target=target, split=split)
    facts = features.facts
    logger().info(
        "%s training, %s validation, %s test sequences of %s channels",
        facts["training"],
        facts["validation"],
        facts["test"],
        facts["channels"],
    )
    if facts["unreadable"]:
        logger().warning(
            "%s rows cannot be read and are in quarantine: %s; the first: %s",
            facts["unreadable"],
            local_dir(opened, features) / "quarantine.parquet",
            facts["first_unreadable"],
        )
    for pair, count in facts["duplicates"].items():
        logger().warning("%s %s were taken out of the evaluation", count, pair)
    return features
