"""What verifying costs: seconds of CPU a gigabyte, when an artifact is opened and opened again."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tasks.facts import ProfileFacts
from tasks.storage.artifacts import Recipe, local_dir, produce
from tasks.storage.store import StoreConfig, open_store


def measure(work: Callable[[], object]) -> float:
    """Return the seconds of CPU: of wall time, reading from a disk would be most."""
    start = time.process_time()
    work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--files", type=int, default=50)
    options = parser.parse_args()
    draw = np.random.default_rng(0)
    size = options.megabytes * 10**6 // options.files

    def build(folder: Path) -> ProfileFacts:
        for number in range(options.files):
            (folder / f"{number}.bin").write_bytes(draw.bytes(size))
        return ProfileFacts(columns=[])

    with TemporaryDirectory() as folder:
        store = open_store(StoreConfig(uri=folder))
        recipe = Recipe(stage="train", version=1, config={}, inputs={})
        artifact = produce(store, recipe, build, ProfileFacts)
        # Files of the last two seconds are read each time.
        time.sleep(2.5)
        gigabytes = size * options.files / 1e9
        first = measure(lambda: local_dir(store, artifact)) / gigabytes
        second = measure(lambda: local_dir(store, artifact)) / gigabytes
    print(f"| {options.files} files, {gigabytes:.2f} GB | {first:.2f} | {second:.4f} |")


if __name__ == "__main__":
    main()
