"""Register small models of every kind, and score tables with them."""

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
from tasks.scoring.config import RowSelection
from tasks.scoring.score import ScoredDataset, ScoringRequest, open_output_store, score_snapshot
from tasks.serving.model_package import choose_golden_rows, save_package
from tasks.storage.store import Store, StoreConfig
from tests.support.registry import register_versions
from tests.support.trained_models import BY_COLUMN, train_bundle, write_features

_TRAINED: dict[str, tuple[Path, Bundle]] = {}
"""Trained models by their settings and data, because training one takes a second."""


def register_version(
    frame: pl.DataFrame,
    layout: Layout,
    target: TargetConfig,
    *,
    split: SplitConfig = BY_COLUMN,
    head: HeadConfig | None = None,
    name: str = "waves",
    epochs: int = 2,
) -> Bundle:
    """Train a small model and register it as the first version."""
    key = repr((layout, target, split, head, epochs, frame.hash_rows().sum()))
    if key not in _TRAINED:
        folder = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
        rows = write_features(folder / "f", frame, layout, target, split)
        bundle = train_bundle(folder / "f", head=head, epochs=epochs)
        golden = choose_golden_rows(bundle, rows, folder / "f")
        save_package(folder / "f" / "model" / "bundle", folder / "served", golden)
        _TRAINED[key] = (folder, bundle)
    folder, bundle = _TRAINED[key]
    register_versions(folder / "served", name=name)
    return bundle


def delete_models() -> None:
    """Delete the models that were trained."""
    for folder, _ in _TRAINED.values():
        shutil.rmtree(folder)
    _TRAINED.clear()


def build_request(
    passthrough_columns: tuple[str, ...] = (), rows: RowSelection = "auto", name: str = "waves"
) -> ScoringRequest:
    return ScoringRequest(name, "1", passthrough_columns, rows, GateConfig(bootstrap_samples=100))


def score_frame(
    frame: pl.DataFrame,
    store: Store,
    request: ScoringRequest,
    *,
    output: str | None = None,
    **source: object,
) -> ScoredDataset:
    """Score a table with the first version and return the dataset of predictions."""
    frame.write_parquet("scored.parquet", row_group_size=64)
    snapshot = take_snapshot(SourceConfig(uri="scored.parquet", **source), store)
    config = StoreConfig(uri=store.root, cache=str(store.cache_dir))
    return score_snapshot(request, snapshot, store, open_output_store("waves", output, config))


def read_predictions(scored: ScoredDataset) -> pl.DataFrame:
    return pl.read_parquet(Path(scored.folder) / "part-*.parquet")
