"""What a run may be asked for in one word, and in the other fields of its form."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.job.form import Preset
from flows.job.job import Job, load_job

PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "job": {},
    "quick": {
        "training.epochs": 10,
        "training.patience": 3,
        "training.budget": "2m",
        "training.weight_averaging": "none",
        "training.ensemble": 1,
    },
    "balanced": {
        "training.epochs": 50,
        "training.patience": 8,
        "training.budget": None,
        "training.weight_averaging": "none",
        "training.ensemble": 1,
    },
    "best": {
        "training.epochs": 200,
        "training.patience": 20,
        "training.budget": None,
        "training.weight_averaging": "none",
        "training.ensemble": 5,
    },
}
"""How long and how hard is learned; what the network is and reads stays the job's own."""

ALONE = {"training.ensemble": 1, "training.weight_averaging": "swa"}
"""In place of an ensemble, where answers have no mean."""

FIELDS = {
    "cell": "model.cell",
    "hidden_size": "model.hidden_size",
    "epochs": "training.epochs",
    "learning_rate": "training.learning_rate",
    "budget": "training.budget",
    "seed": "training.seed",
    "metric": "gate.metric",
}
"""The settings that the fields of the form stand for."""


def load_asked(
    path: Path, overrides: Mapping[str, Any] | None, *, preset: Preset, **fields: object
) -> Job:
    """Read a job as it is asked for: the file, the preset, the form's fields, the overrides.

    The later wins. A field that is empty, or says `job`, leaves what is there.

    Raises:
        JobError: it is not valid.
    """
    filled = {
        FIELDS[name]: value for name, value in fields.items() if value not in {None, "", "job"}
    }
    asked = {**filled, **(overrides or {})}
    job = load_job(path, {**PRESETS[preset], **asked} if preset != "best" else asked)
    if preset != "best":
        return job
    alone = ALONE if job.target.kind == "text" else {}
    return load_job(path, {**PRESETS[preset], **alone, **asked})
