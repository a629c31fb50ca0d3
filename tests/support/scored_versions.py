"""Registered versions of small models of every kind, and their answers to a table in a store."""

import shutil
import tempfile
from pathlib import Path

import polars as pl

from models.bundle import Bundle
from models.features.config import Layout, TargetConfig
from models.features.splitting.split import SplitConfig
from models.networks.heads.config import HeadConfig
from tasks.gate.comparison import GateConfig
from tasks.ingestion.config import SourceConfig
from tasks.ingestion.ingest import take_snapshot
from tasks.scoring.score import Asked, Scored, make_scores, output_store
from tasks.serving.model_package import golden_frame, save_served
from tasks.storage.store import Store, StoreConfig
from tests.support.registry import register
from tests.support.trained_models import TOLD, features, trained

MADE: dict[str, tuple[Path, Bundle]] = {}
"""Models by what they were made of: training one takes a second."""


def registered(
    frame: pl.DataFrame,
    layout: Layout,
    target: TargetConfig,
    *,
    split: SplitConfig = TOLD,
    head: HeadConfig | None = None,
    name: str = "waves",
    epochs: int = 2,
) -> Bundle:
    """Train a small model and register it as the first version."""
    key = repr((layout, target, split, head, epochs, frame.hash_rows().sum()))
    if key not in MADE:
        folder = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
        rows = features(folder / "f", frame, layout, target, split)
        bundle = trained(folder / "f", head=head, epochs=epochs)
        golden = golden_frame(bundle, rows, folder / "f")
        save_served(folder / "f" / "model" / "bundle", folder / "served", golden)
        MADE[key] = (folder, bundle)
    folder, bundle = MADE[key]
    register(folder / "served", name=name)
    return bundle


def forget() -> None:
    """Delete the models that were trained."""
    for folder, _ in MADE.values():
        shutil.rmtree(folder)
    MADE.clear()


def asked(keep: tuple[str, ...] = (), rows: str = "usual", name: str = "waves") -> Asked:
    return Asked(name, "1", keep, rows, GateConfig(bootstrap_samples=100))


def scored(
    frame: pl.DataFrame,
    store: Store,
    asked_for: Asked,
    *,
    output: str | None = None,
    **source: object,
) -> Scored:
    """Let the version answer a table."""
    frame.write_parquet("asked.parquet", row_group_size=64)
    snapshot = take_snapshot(SourceConfig(uri="asked.parquet", **source), store)
    config = StoreConfig(uri=store.root, cache=str(store.cache_dir))
    return make_scores(asked_for, snapshot, store, output_store("waves", output, config))


def lines(found: Scored) -> pl.DataFrame:
    return pl.read_parquet(Path(found.folder) / "part-*.parquet")
