"""Presets of a run, and the settings behind the fields of its form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.job.form import Preset
from flows.job.job import Job, load_job
from models.features.config import SELF_SUPERVISED

_DEFAULTS = {
    "training.epochs": "auto",
    "training.patience": "auto",
    "training.weight_averaging": "ema",
    "training.ensemble": 1,
}

PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "job": {},
    "quick": {**_DEFAULTS, "training.budget": "30s"},
    "balanced": {**_DEFAULTS, "training.budget": "3m"},
    "best": {**_DEFAULTS, "training.budget": "10m", "training.ensemble": "auto"},
}
"""Settings of the training; the network and its inputs stay those of the job."""

_SINGLE_NETWORK: dict[str, object] = {
    "training.epochs": 200,
    "training.ensemble": 1,
    "training.weight_averaging": "swa",
}
"""Instead of an ensemble, where predictions cannot be averaged."""

_SEEDS: dict[str, object] = {"training.epochs": 200, "training.ensemble": 5}
"""Instead of several recipes, where there is no target to select them by."""

FORM_FIELDS = {
    "cell": "model.cell",
    "hidden_size": "model.hidden_size",
    "epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "budget": "training.budget",
    "seed": "training.seed",
    "metric": "gate.metric",
}
"""The setting of each field of the form."""


def load_requested_job(
    path: Path, overrides: Mapping[str, Any] | None, *, preset: Preset, **fields: object
) -> Job:
    """Load a job with the settings of a request: the file, preset, form fields, overrides.

    A later one replaces an earlier one. A field that is empty or `job` changes nothing.

    Raises:
        JobError: the job is not valid.
    """
    filled = {
        FORM_FIELDS[name]: value for name, value in fields.items() if value not in {None, "", "job"}
    }
    requested = {**filled, **(overrides or {})}
    job = load_job(path, {**PRESETS[preset], **requested} if preset != "best" else requested)
    if preset != "best":
        return job
    own: dict[str, object] = {}
    if job.target.kind == "text":
        own = _SINGLE_NETWORK
    if job.target.kind in SELF_SUPERVISED:
        own = _SEEDS
    return load_job(path, {**PRESETS[preset], **own, **requested})
