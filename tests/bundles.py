"""Small models on disk, kept for ever: what a program of their time wrote, and its answers.

`python tests/bundles.py` writes those of the present format. It was run once with the program of
each format (`git worktree add PLACE COMMIT`, then from there with PYTHONPATH=PLACE:PLACE/tests);
what it wrote is never written again. With FORMAT raised, run it, and commit the new folder.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from answering import ALONE, BY_TIME, TOLD, features, tagged, tides, trained, weekly

from models.bundle import FORMAT
from models.features.config import Layout, TargetConfig
from models.features.series import SeriesInput
from models.networks.heads.config import HeadConfig
from tasks.serving.model_package import golden_frame

KEPT = Path(__file__).parent / "tasks" / "data" / "bundles"


def kinds() -> pl.DataFrame:
    """Waves of three lengths, with gaps, and which of them each is."""
    draw = np.random.default_rng(4)
    cells = [[*np.sin(np.arange(5 + row % 3) * (1 + row % 3)), None] for row in range(90)]
    cells = [[float(x) + draw.normal(0, 0.1) if x is not None else x for x in c] for c in cells]
    split = ["test" if at % 5 == 0 else "dev" if at % 5 == 1 else "train" for at in range(90)]
    return pl.DataFrame(
        {"wave": cells, "label": [f"kind {row % 3}" for row in range(90)], "split": split}
    )


WAVE = Layout(input=SeriesInput(column="wave"), window=None, time=None, entity=None)
READ = SeriesInput(column="sales", scale_by="entity")

CASES = {
    "category": (kinds(), WAVE, TargetConfig(column="label", kind="category"), TOLD, HeadConfig()),
    "tags": (tagged(), ALONE, TargetConfig(column="tags", kind="tags"), TOLD, HeadConfig()),
    "forecast": (
        tides(60),
        weekly(READ, horizon=3),
        TargetConfig(column="sales", kind="forecast"),
        BY_TIME,
        HeadConfig(error="student"),
    ),
}


def write_kept(folder: Path) -> None:
    """Train each kind for two epochs; keep the bundle, a few rows, and the answers to them."""
    for kind, (frame, layout, target, split, head) in CASES.items():
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary) / "features"
            rows = features(work, frame, layout, target, split)
            bundle = trained(work, head=head, hidden=8)
            golden = golden_frame(bundle, rows, work)
            home = folder / kind
            shutil.copytree(work / "model" / "bundle", home / "bundle")
        golden.write_parquet(home / "golden_inputs.parquet")
        bundle.predict(golden).write_parquet(home / "golden_answers.parquet")


if __name__ == "__main__":
    into = Path(sys.argv[1]) if sys.argv[1:] else KEPT
    write_kept(into / f"format_{FORMAT}")
