"""The overhead of orchestration: `python tests/benchmarks/overhead.py [ROUNDS]`.

Prints medians of alternating rounds, each in a process of its own, on a store that has all
artifacts already, so that only the orchestration takes time:

    help, imports     compared with a bare interpreter
    first             the six stages once: as plain functions, as a flow on a running server, and
                      as a flow with a server of its own, which starts before the imports
    warm              once more in the same process
    whole             from the start of the process to its end
    step              from the start of the process to the first step of the optimizer, on a fresh
                      store, compared with `import torch, polars`
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
from tests.support.sample_jobs import WAVES, build_environment, make_waves

STATEMENTS = (
    "pass",
    "import torch, polars",
    "import prefect",
    "import mlflow",
    "import great_expectations",
)
KINDS = ("plain", "running", "own")
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
    for owner, name in (
        *((accept_rows, name) for name in ("ingest", "validate")),
        *((module, name) for name in ("featurize", "train", "evaluate", "register")),
    ):
        setattr(owner, name, getattr(owner, name).fn)
if until == "step":
    from models.learning import loop

    def report_step(*_, **__):
        print(json.dumps({"step_time": time.time()}), flush=True)
        os.kill(os.getpid(), 9)

    loop.take_step = report_step
imports_end = time.perf_counter()
def run_once():
    start_time = time.perf_counter()
    if kind == "plain":
        module.retrain_job(load_job(Path("waves.yaml")), datetime.now(UTC))
    else:
        ready()
        with run_context("waves"):
            module.retrain("waves.yaml")
    return time.perf_counter() - start_time
first, warm = run_once(), run_once()
print(json.dumps({"imports": imports_end - start, "first": first, "warm": warm}))
"""


def run_process(command: list[str], folder: Path, **variables: str) -> tuple[float, float, str]:
    """Run a process; return its start time, its seconds, and its output."""
    start_time = time.time()
    result = subprocess.run(
        command,
        cwd=folder,
        env=build_environment() | variables,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    return start_time, time.time() - start_time, result.stdout


def run_stages(kind: str, folder: Path, server: str) -> dict[str, float]:
    """Run the stages twice in one process; return the seconds of each part."""
    variables = {"PREFECT_API_URL": server} if kind == "running" else {}
    command = [sys.executable, "-c", RUN, kind, "end"]
    _, whole, output = run_process(command, folder, **variables)
    return {**json.loads(output.splitlines()[-1]), "whole": whole}


def measure_first_step(kind: str, folder: Path, server: str) -> float:
    """Return the seconds from the start of a process to its first step, on an empty store."""
    shutil.rmtree(folder / ".ostinato" / "store", ignore_errors=True)
    variables = {"PREFECT_API_URL": server} if kind == "running" else {}
    start_time, _, output = run_process(
        [sys.executable, "-c", RUN, kind, "step"], folder, **variables
    )
    return json.loads(output.splitlines()[-1])["step_time"] - start_time


def start_server(folder: Path) -> tuple["subprocess.Popen[bytes]", str]:
    """Start a Prefect server; return its process and its address."""
    from flows.servers.ephemeral import SERVER_SETTINGS
    from flows.servers.ports import find_free_port
    from flows.servers.processes import Child, wait_until_responding

    port = find_free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "flows.servers.ephemeral", str(port), str(os.getpid())],
        cwd=folder,
        env=build_environment() | SERVER_SETTINGS | {"PREFECT_HOME": str(folder / "running")},
    )
    server = Child("the running server", process, None)
    wait_until_responding(f"http://127.0.0.1:{port}/api/health", [server])
    return process, f"http://127.0.0.1:{port}/api"


def measure(rounds: int, folder: Path, server: str) -> dict[str, dict[str, list[float]]]:
    """Run all measurements alternately; return the seconds by part and kind."""
    seconds_by_part: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    processes = {statement: [sys.executable, "-c", statement] for statement in STATEMENTS}
    processes["ostinato --help"] = [sys.executable, "-m", "flows.cli.main", "--help"]
    for kind in KINDS:
        run_stages(kind, folder, server)
    for _ in range(rounds):
        for name, command in processes.items():
            seconds_by_part["process"][name].append(run_process(command, folder)[1])
        for kind in KINDS:
            for part, seconds in run_stages(kind, folder, server).items():
                seconds_by_part[part][kind].append(seconds)
    for _ in range(rounds):
        for kind in KINDS:
            seconds_by_part["step"][kind].append(measure_first_step(kind, folder, server))
    return seconds_by_part


def main(rounds: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_waves(300).write_parquet(folder / "waves.parquet")
        (folder / "waves.yaml").write_text(yaml.safe_dump(WAVES), encoding="utf-8")
        server_process, server = start_server(folder)
        try:
            seconds_by_part = measure(rounds, folder, server)
        finally:
            server_process.terminate()
            server_process.wait()
    for name, values in seconds_by_part["process"].items():
        print(f"{name:32} {statistics.median(values):7.3f} s")
    print(f"\n{'seconds':10}" + "".join(f"{kind:>12}" for kind in KINDS))
    for part in (*PARTS, "step"):
        medians = [statistics.median(seconds_by_part[part][kind]) for kind in KINDS]
        print(f"{part:10}" + "".join(f"{seconds:12.3f}" for seconds in medians))
    imports = statistics.median(seconds_by_part["process"]["import torch, polars"])
    own = statistics.median(seconds_by_part["step"]["own"])
    print(f"\nto the first step: {own / imports:.2f} x `import torch, polars`")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
