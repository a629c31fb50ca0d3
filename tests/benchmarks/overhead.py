"""What orchestration costs: `python tests/benchmarks/overhead.py [ROUNDS]`.

Prints medians of alternating rounds, each in a process of its own, on a store that has everything
already, so that only the orchestration is left:

    help, imports     beside a bare interpreter
    first             the six stages once: as plain functions, as a flow on a server that is up, and
                      as a flow with a server of its own, which is begun before the imports
    warm              once more in the same process
    whole             from the start of the process to its end
    step              from the start of the process to the first step of the optimizer, on a fresh
                      store, beside `import torch, polars`
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.support.sample_jobs import WAVES, environment, waves

LINES = (
    "pass",
    "import torch, polars",
    "import prefect",
    "import mlflow",
    "import great_expectations",
)
KINDS = ("plain", "standing", "own")
PARTS = ("imports", "first", "warm", "whole")

RUN = """
import json, os, sys, time
start = time.perf_counter()
kind, until = sys.argv[1:]
from flows.environment import configure_environment
configure_environment()
from flows.servers.ephemeral import start_server
ready = start_server() if kind == "own" else (lambda: None)
from datetime import UTC, datetime
from pathlib import Path
from flows.job.job import load_job
from flows import retrain as module, accept_rows
from flows.runtime.run_context import run_context
if kind == "plain":
    for place, name in (
        *((accept_rows, name) for name in ("ingest", "validate")),
        *((module, name) for name in ("featurize", "train", "evaluate", "register")),
    ):
        setattr(place, name, getattr(place, name).fn)
if until == "step":
    from models.learning import loop

    def stepped(*_, **__):
        print(json.dumps({"stepped": time.time()}), flush=True)
        os.kill(os.getpid(), 9)

    loop.take_step = stepped
loaded = time.perf_counter()
def once():
    began = time.perf_counter()
    if kind == "plain":
        module.retrain_job(load_job(Path("waves.yaml")), datetime.now(UTC))
    else:
        ready()
        with run_context("waves"):
            module.retrain("waves.yaml")
    return time.perf_counter() - began
first, warm = once(), once()
print(json.dumps({"imports": loaded - start, "first": first, "warm": warm}))
"""


def process(command: list[str], folder: Path, **variables: str) -> tuple[float, float, str]:
    """Run a process; return when it began, how long it took, and what it printed."""
    began = time.time()
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment() | variables,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return began, time.time() - began, done.stdout


def run(kind: str, folder: Path, server: str) -> dict[str, float]:
    """One process with a first and a second run."""
    named = {"PREFECT_API_URL": server} if kind == "standing" else {}
    command = [sys.executable, "-c", RUN, kind, "end"]
    _, whole, printed = process(command, folder, **named)
    return {**json.loads(printed.splitlines()[-1]), "whole": whole}


def first_step(kind: str, folder: Path, server: str) -> float:
    """Seconds from the start of a process to its first step, on a store that has nothing."""
    shutil.rmtree(folder / ".ostinato" / "store", ignore_errors=True)
    named = {"PREFECT_API_URL": server} if kind == "standing" else {}
    began, _, printed = process([sys.executable, "-c", RUN, kind, "step"], folder, **named)
    return json.loads(printed.splitlines()[-1])["stepped"] - began


def serve(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """Start a Prefect server that stands by."""
    from flows.servers.ephemeral import SERVER_SETTINGS
    from flows.servers.ports import find_free_port
    from flows.servers.processes import Child, wait_until_responding

    port = find_free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.servers.ephemeral", str(port), str(os.getpid())],
        cwd=folder,
        env=environment() | SERVER_SETTINGS | {"PREFECT_HOME": str(folder / "standing")},
    )
    server = Child("the standing server", process, None)
    wait_until_responding(f"http://127.0.0.1:{port}/api/health", [server])
    return process, f"http://127.0.0.1:{port}/api"


def measure(rounds: int, folder: Path, server: str) -> dict[str, dict[str, list[float]]]:
    """Let all take turns."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    processes = {line: [sys.executable, "-c", line] for line in LINES}
    processes["ostinato --help"] = [sys.executable, "-m", "flows.cli.main", "--help"]
    for kind in KINDS:
        run(kind, folder, server)
    for _ in range(rounds):
        for name, command in processes.items():
            found["process"][name].append(process(command, folder)[1])
        for kind in KINDS:
            for part, seconds in run(kind, folder, server).items():
                found[part][kind].append(seconds)
    for _ in range(rounds):
        for kind in KINDS:
            found["step"][kind].append(first_step(kind, folder, server))
    return found


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        waves(300).write_parquet(folder / "waves.parquet")
        (folder / "waves.yaml").write_text(yaml.safe_dump(WAVES), encoding="utf-8")
        standing, server = serve(folder)
        try:
            found = measure(rounds, folder, server)
        finally:
            standing.terminate()
            standing.wait()
    for name, values in found["process"].items():
        print(f"{name:32} {statistics.median(values):7.3f} s")
    print(f"\n{'seconds':10}" + "".join(f"{kind:>12}" for kind in KINDS))
    for part in (*PARTS, "step"):
        medians = [statistics.median(found[part][kind]) for kind in KINDS]
        print(f"{part:10}" + "".join(f"{seconds:12.3f}" for seconds in medians))
    floor = statistics.median(found["process"]["import torch, polars"])
    own = statistics.median(found["step"]["own"])
    print(f"\nto the first step: {own / floor:.2f} x `import torch, polars`")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
