"""The context of a search over small waves, with features that the earlier stages made."""

import shutil
from pathlib import Path

import polars as pl

from flows.job.job import load_job
from tasks.storage.store import StoreConfig, open_store
from tasks.tuning.mlflow_runs import SearchRuns
from tasks.tuning.trials import TrialContext
from tests.support.pipeline import prepare_features
from tests.support.sample_jobs import make_waves, write_job

SEARCHED = {
    "name": "waves",
    "source": {"uri": "waves.parquet"},
    "inputs": [{"column": "wave", "kind": "series"}],
    "target": {"column": "label", "kind": "category"},
    "model": {"hidden_size": 8, "pooling": "mean", "parallel_branch": "none"},
    "training": {"epochs": 4, "folds": 1, "learning_rate": 0.02, "checkpoint_every": 0},
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


def make_trial_context(
    folder: Path, table: pl.DataFrame | None = None, **tuning: object
) -> TrialContext:
    """Run the job up to its features, in a store of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (make_waves(160) if table is None else table).write_parquet(folder / "waves.parquet")
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
    store, _, accepted, features = prepare_features(job)
    return TrialContext(store, accepted, features, job.settings, job.tuning, job.gate.season_length)


def copy_context(context: TrialContext, folder: Path) -> TrialContext:
    """Return the context with a copy of its store."""
    shutil.copytree(context.store.root, folder)
    return context._replace(store=open_store(StoreConfig(uri=str(folder))))


class NoRuns(SearchRuns):
    """Runs of a search that log nothing."""

    def __init__(self) -> None:
        """Open no run."""

    def log_trial(self, *_: object) -> None:
        """Log nothing."""
