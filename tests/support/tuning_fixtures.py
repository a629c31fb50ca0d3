"""A bench to search on, over small waves, as the stages before a search leave it."""

import shutil
from pathlib import Path

import polars as pl

from flows.job.job import load_job
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import StoreConfig, open_store
from tasks.tuning.mlflow_runs import Runs
from tasks.tuning.trials import Bench
from tasks.validation.validate import draft, hold
from tests.support.sample_jobs import waves, write_job

SEARCHED = {
    "name": "waves",
    "source": {"uri": "waves.parquet"},
    "inputs": [{"column": "wave", "kind": "series"}],
    "target": {"column": "label", "kind": "category"},
    "model": {"hidden_size": 8, "pooling": "mean"},
    "training": {"epochs": 4, "learning_rate": 0.02, "checkpoint_every": 0},
    "gate": {"bootstrap_samples": 200},
    "tuning": {
        "n_trials": 4,
        "search_space": {
            "model.hidden_size": [4, 8],
            "model.cell": ["gru", "mingru"],
            "model.num_layers": [],
            "training.batch_size": [16, 32],
        },
    },
}


def make_bench(folder: Path, table: pl.DataFrame | None = None, **tuning: object) -> Bench:
    """Take the job up to its features, in a store of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (waves(160) if table is None else table).write_parquet(folder / "waves.parquet")
    path = write_job(
        folder,
        SEARCHED
        | {
            "source": {"uri": str(folder / "waves.parquet")},
            "contract": str(folder / "waves.contract.yaml"),
            "store": {"uri": str(folder / "store")},
            "tuning": SEARCHED["tuning"] | tuning,
        },
    )
    job = load_job(path)
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store)
    contract = draft(
        snapshot,
        store,
        path=Path(job.contract_path),
        name=job.name,
        needed=job.needed,
        target=job.target.column,
    )
    accepted = hold(snapshot, contract, store)
    features = make_features(accepted, store, layout=job.layout, target=job.target, split=job.split)
    return Bench(store, accepted, features, job.settings, job.tuning, job.gate.season_length)


def copied(bench: Bench, folder: Path) -> Bench:
    """Return the bench over a copy of its store."""
    shutil.copytree(bench.store.root, folder)
    return bench._replace(store=open_store(StoreConfig(uri=str(folder))))


class NoRuns(Runs):
    """Tells nobody."""

    def __init__(self) -> None:
        """Begin."""

    def record(self, *_: object) -> None:
        """Say nothing."""
