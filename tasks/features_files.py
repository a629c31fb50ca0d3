"""Reading the files of a features artifact."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.features.featurizer import Featurizer, from_json


def load_featurizer(folder: Path) -> Featurizer:
    """Read the state that was fitted with these features."""
    return from_json(json.loads((folder / "featurizer.json").read_text(encoding="utf-8")))


def map_steps(folder: Path) -> NDArray[np.float32]:
    """Map the steps from disk as [steps, channels], without a copy."""
    with pa.memory_map(str(folder / "steps.arrow")) as source:
        steps = pa.ipc.open_file(source).get_batch(0).column(0)
    return np.asarray(steps.values.to_numpy().reshape(-1, steps.type.list_size))
