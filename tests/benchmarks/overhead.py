"""What orchestration costs: `python tests/benchmarks/overhead.py [ROUNDS]`.

Prints medians of alternating rounds, each in a process of its own: the help page and the imports
beside a bare interpreter, and the six stages as a flow (embedded server) beside the same plain
functions, both on a store that has everything already, so that only the orchestration is left.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from samples import WAVES, environment, waves

IMPORTS = ("pass", "import torch", "import prefect", "import mlflow", "import great_expectations")

RUN = """
import json, sys, time
start = time.perf_counter()
from flows.home import settle
settle()
from datetime import UTC, datetime
from pathlib import Path
from flows.job import load_job
import flows.retrain as module
if sys.argv[1] == "plain":
    for name in ("ingest", "validate", "featurize", "train", "evaluate", "register"):
        setattr(module, name, getattr(module, name).fn)
loaded = time.perf_counter()
def once():
    began = time.perf_counter()
    if sys.argv[1] == "plain":
        module.retrain_job(load_job(Path("waves.yaml")), datetime.now(UTC))
    else:
        module.retrain("waves.yaml")
    return time.perf_counter() - began
first, warm = once(), once()
print(json.dumps({"imports": loaded - start, "first": first, "warm": warm}))
"""


def seconds(command: list[str], folder: Path) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True)
    return time.perf_counter() - began


def run(kind: str, folder: Path) -> dict[str, float]:
    """One process with a first and a second run."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, kind],
        cwd=folder,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        waves(300).write_parquet(folder / "waves.parquet")
        (folder / "waves.yaml").write_text(yaml.safe_dump(WAVES), encoding="utf-8")
        run("flow", folder)
        processes = {line: [sys.executable, "-c", line] for line in IMPORTS}
        processes["ostinato --help"] = [sys.executable, "-m", "flows.cli", "--help"]
        walls: dict[str, list[float]] = {name: [] for name in processes}
        runs: dict[str, list[dict[str, float]]] = {"plain": [], "flow": []}
        for _ in range(rounds):
            for name, command in processes.items():
                walls[name].append(seconds(command, folder))
            for kind, found in runs.items():
                found.append(run(kind, folder))
    for name, values in walls.items():
        print(f"{name:32} {statistics.median(values):7.3f} s")
    for part in ("imports", "first", "warm"):
        plain, flow = (
            statistics.median(found[part] for found in runs[kind]) for kind in ("plain", "flow")
        )
        print(f"{part:8} plain {plain:7.3f} s  flow {flow:7.3f} s  tax {flow - plain:7.3f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
