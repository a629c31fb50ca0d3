"""Turn accepted rows into jagged sequences; all state is fitted on training alone."""

from functools import partial
from pathlib import Path

import polars as pl
from prefect import task

from data_contracts.engine.uniqueness import ROW_NUMBER
from data_contracts.quarantine import REASONS_COLUMN
from models.errors import UnlearnableError
from models.features.config import Layout, TargetConfig
from models.features.featurizer import check_columns, save_featurizer
from models.features.splitting.split import (
    TEST,
    TRAINING,
    UNLABELLED,
    VALIDATION,
    SplitConfig,
    list_split_columns,
)
from models.features.target import check_target_type
from tasks.dataset.quarantine import MAX_REPORTED_ROWS, add_origins, read_origins
from tasks.dataset.rowset import RowSet, find_snapshot, open_rows
from tasks.dataset.split_warnings import list_absent_classes
from tasks.dataset.training_membership import write_training_rows
from tasks.errors import translate_unlearnable
from tasks.facts import FeatureFacts
from tasks.features.input_files import hash_input_files, list_reading_packages
from tasks.features.row_features import make_row_features
from tasks.features.sequence_table import BuiltFeatures
from tasks.features.window_features import make_window_features
from tasks.records import Accepted, Features
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import Store, StoreConfig, open_store
from tasks.task_options import HOUR, STAGE, logger

VERSION = 8


def build_features(
    folder: Path,
    rows: RowSet,
    *,
    layout: Layout,
    target: TargetConfig,
    split: SplitConfig,
    keep_unlabelled: bool = False,
) -> BuiltFeatures:
    """Fill `folder` with the features of these rows.

    Raises:
        UnlearnableError: these rows do not make a training set.
    """
    check_columns(rows.schema, layout)
    _require_columns(rows.schema, [*target.columns, *list_split_columns(split)])
    for name in target.columns:
        check_target_type(rows.schema[name], target, column=name)
    make = (
        make_window_features
        if layout.window
        else partial(make_row_features, keep_unlabelled=keep_unlabelled)
    )
    built = make(folder, rows, layout=layout, target=target, split=split)
    save_featurizer(built.featurizer, folder)
    write_training_rows(folder, rows, built.featurizer)
    return built


def make_features(
    accepted: Accepted,
    store: Store,
    *,
    layout: Layout,
    target: TargetConfig,
    split: SplitConfig,
    keep_unlabelled: bool = False,
) -> Features:
    """Return the features of the accepted rows, made unless the store has them.

    Args:
        accepted: the rows.
        store: where the features are.
        layout: the columns that are read.
        target: what is predicted.
        split: how rows are divided.
        keep_unlabelled: whether training rows without a target are kept, for pretraining alone.

    Raises:
        DataError: the rows satisfy their contract, but nothing can be learned from them.
        JobError: the files that the input is read with cannot be read.
    """
    files_hash = hash_input_files(layout)
    recipe = Recipe(
        stage="featurize",
        version=VERSION,
        config={
            "layout": layout,
            "target": target,
            "split": split,
            "keep_unlabelled": keep_unlabelled,
            "packages": list_reading_packages(layout, target),
        },
        # A changed contract that accepts the same rows gives the same features.
        inputs={"rows": accepted.facts.rows_key, **_name_input("files", files_hash)},
    )

    def build(folder: Path) -> FeatureFacts:
        rows = open_rows(store, accepted)
        try:
            made = build_features(
                folder,
                rows,
                layout=layout,
                target=target,
                split=split,
                keep_unlabelled=keep_unlabelled,
            )
        except UnlearnableError as error:
            raise translate_unlearnable(error) from error
        _write_quarantine(folder, rows, made, read_origins(find_snapshot(store, accepted)))
        return _summarize_features(made, folder, files_hash)

    return produce(store, recipe, build, FeatureFacts)


def _require_columns(schema: pl.Schema, names: list[str]) -> None:
    """Check that a table has these columns.

    Raises:
        UnlearnableError: names what is missing.
    """
    for name in names:
        if name not in schema:
            raise UnlearnableError(
                f"column '{name}' is missing; the table has: {', '.join(schema.names())}"
            )


def _name_input(name: str, key: str | None) -> dict[str, str]:
    """Return an input of a recipe by its name; nothing where there is none."""
    return {} if key is None else {name: key}


def _summarize_features(built: BuiltFeatures, folder: Path, files_hash: str | None) -> FeatureFacts:
    """Count sequences, steps and channels, and the rows that were left out."""
    return FeatureFacts(
        training=built.counts.get(TRAINING, 0),
        validation=built.counts.get(VALIDATION, 0),
        test=built.counts.get(TEST, 0),
        unlabelled=built.counts.get(UNLABELLED, 0),
        steps=built.steps,
        channels=built.channels,
        classes=built.featurizer.target.classes,
        unreadable=len(built.reasons),
        first_unreadable=next(iter(built.reasons.values()), None),
        unseen_classes=built.unseen_classes,
        absent_classes=list_absent_classes(folder, built.featurizer.target),
        duplicates=built.duplicates,
        embeddings=getattr(built.featurizer.state, "embeddings", None),
        files_hash=files_hash,
    )


def _write_quarantine(
    folder: Path, rows: RowSet, built: BuiltFeatures, origins: list[list[tuple[str, int]]]
) -> None:
    """Quarantine the rows that cannot be read, with their reasons and origins."""
    if not built.reasons:
        return
    bad = list(built.reasons.items())[:MAX_REPORTED_ROWS]
    table = pl.DataFrame(
        {ROW_NUMBER: [row for row, _ in bad], REASONS_COLUMN: [[reason] for _, reason in bad]},
        schema={ROW_NUMBER: pl.UInt32, REASONS_COLUMN: pl.List(pl.String)},
    )
    add_origins(rows, table, origins).write_parquet(folder / "quarantine.parquet")


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
    keep_unlabelled: bool = False,
) -> Features:
    """Turn the accepted rows into sequences."""
    opened = open_store(store)
    features = make_features(
        accepted,
        opened,
        layout=layout,
        target=target,
        split=split,
        keep_unlabelled=keep_unlabelled,
    )
    facts = features.facts
    logger().info(
        "%s training, %s validation, %s test sequences of %s channels",
        facts.training,
        facts.validation,
        facts.test,
        facts.channels,
    )
    if facts.unlabelled:
        logger().info("%s training rows without a target, for pretraining", facts.unlabelled)
    if facts.embeddings:
        logger().info("pretrained embeddings: %s", facts.embeddings)
    if facts.unreadable:
        logger().warning(
            "%s rows cannot be read and are in quarantine: %s; the first: %s",
            facts.unreadable,
            local_dir(opened, features) / "quarantine.parquet",
            facts.first_unreadable,
        )
    for pair, count in facts.duplicates.items():
        logger().warning("%s %s were removed from the evaluation", count, pair)
    return features
