"""What cases share: a command server, a Prefect server, and a finished run to be damaged."""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.servers.ports import find_free_port
from tests.faults.endure.case import Ended
from tests.faults.endure.command_server import ROOT, CommandServer
from tests.faults.endure.shim import build_shim
from tests.support.sample_jobs import WAVES, build_environment, make_waves, write_job

if TYPE_CHECKING:
    from tests.faults.endure.running_ui import RunningUi

STORE = Path(".ostinato", "store")
DATABASE = Path(".ostinato", "mlflow", "mlflow.db")

JOB = WAVES | {
    "name": "waves",
    "model": {"hidden_size": 8, "pooling": "mean", "parallel_branch": "none"},
    "training": {"epochs": 6, "learning_rate": 0.02, "folds": 1, "checkpoint_every": "0s"},
}
"""A job of a few seconds, whose every epoch is a checkpoint."""

ROWS = 160

RUN_SECONDS = 600.0
"""Seconds after which a run counts as hanging."""

_START_SECONDS = 600.0


class Workshop:
    """The resources of one lane of cases, each made when it is first needed."""

    def __init__(self, root: Path) -> None:
        """Begin in an empty folder."""
        self.root = root
        self._closing: list[Any] = []
        self._folders = 0

    @cached_property
    def commands(self) -> CommandServer:
        """Commands that need no Prefect server, such as `check`."""
        server = CommandServer(self.root / "commands")
        self._closing.append(server.close)
        return server

    @cached_property
    def flows(self) -> CommandServer:
        """Commands whose flows report to one Prefect server."""
        server = CommandServer(self.root / "flows", PREFECT_API_URL=self.prefect_url)
        self._closing.append(server.close)
        return server

    @cached_property
    def shimmed_flows(self) -> CommandServer:
        """Commands below which files and the clock can fail.

        Raises:
            CannotRun: there is no C compiler.
        """
        library = build_shim(self.root)
        server = CommandServer(
            self.root / "shimmed", PREFECT_API_URL=self.prefect_url, LD_PRELOAD=str(library)
        )
        self._closing.append(server.close)
        return server

    @cached_property
    def prefect_url(self) -> str:
        """Address of the API of a Prefect server."""
        home = self.root / "prefect"
        home.mkdir(parents=True, exist_ok=True)
        port = find_free_port()
        url = f"http://127.0.0.1:{port}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.servers.ephemeral", str(port), str(os.getpid())],
            cwd=home,
            env=build_environment()
            | {"PREFECT_HOME": str(home), "PREFECT_UI_ENABLED": "0", "PYTHONPATH": str(ROOT)},
        )
        self._closing.append(lambda: stop(process))
        wait_for_url(f"{url}/health", process)
        return url

    @cached_property
    def blank_database(self) -> Path:
        """MLflow's database without any model."""
        from mlflow import MlflowClient

        path = self.root / "blank.db"
        MlflowClient(f"sqlite:///{path}", f"sqlite:///{path}").search_registered_models()
        return path

    @cached_property
    def finished(self) -> "FinishedRun":
        """A folder in which the job has been run."""
        return FinishedRun(self)

    @cached_property
    def ui(self) -> "RunningUi":
        """A running `ostinato ui` with the job."""
        from tests.faults.endure.running_ui import RunningUi

        running = RunningUi(self)
        self._closing.append(running.close)
        return running

    def make_folder(self, *, with_database: bool = False) -> Path:
        """Make an empty folder for a case."""
        self._folders += 1
        folder = self.root / "cases" / f"{self._folders:04}"
        folder.mkdir(parents=True)
        if with_database:
            (folder / DATABASE).parent.mkdir(parents=True)
            shutil.copyfile(self.blank_database, folder / DATABASE)
        return folder

    def delete_folder(self, folder: Path) -> None:
        """Delete a case's folder and the output of its commands."""
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("out", "err"):
            (folder.parent / f"{folder.name}.{name}").unlink(missing_ok=True)

    def close(self) -> None:
        """End all processes, the last started first."""
        for close in reversed(self._closing):
            close()


class FinishedRun:
    """A folder in which the job has been run, to be damaged and restored.

    MLflow's addresses are absolute, so it is restored in its own place.
    """

    def __init__(self, workshop: Workshop) -> None:
        """Run the job."""
        self.workshop = workshop
        self.folder = workshop.make_folder(with_database=True)
        write_inputs(self.folder)
        self.ended = self.run()
        assert self.ended.code == 0, self.ended.errors
        self.results = read_results(self.folder)
        self._copy = workshop.root / "finished"
        shutil.copytree(self.folder, self._copy, symlinks=True)
        self._expected: dict[tuple[str, ...], dict[str, str]] = {}
        self.known = {hash_file(path) for path in list_model_files(self.folder)}

    def run(self, *settings: str) -> Ended:
        """Run the job with some settings."""
        return run_job(self.workshop.flows, self.folder, *settings)

    def restore(self) -> None:
        """Put the folder back as it was after the run."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._copy, self.folder, symlinks=True)

    def get_expected(self, *settings: str) -> dict[str, str]:
        """Return the results of a further, undisturbed run with some settings."""
        if settings not in self._expected:
            self.restore()
            ended = self.run(*settings)
            assert ended.code == 0, ended.errors
            self._expected[settings] = read_results(self.folder)
            self.known |= {hash_file(path) for path in list_model_files(self.folder)}
            self.restore()
        return self._expected[settings]

    @cached_property
    def files(self) -> list[str]:
        """The files of the store, relative to it."""
        store = self._copy / STORE
        return sorted(str(p.relative_to(store)) for p in store.rglob("*") if p.is_file())


def write_inputs(folder: Path, job: dict[str, Any] = JOB) -> None:
    """Write the data and the job file."""
    make_waves(ROWS).write_parquet(folder / "waves.parquet")
    write_job(folder, job)


def run_job(
    server: CommandServer,
    folder: Path,
    *settings: str,
    kill_after: float | None = None,
    **variables: str,
) -> Ended:
    """Run the job of a folder, with MLflow's database in it.

    Returns:
        The command; where it failed, stderr is the message of its error alone, without its log.
    """
    arguments = [part for setting in settings for part in ("--set", setting)]
    registry = f"sqlite:///{(folder / DATABASE).absolute()}"
    ended = server.run(
        folder, "run", "waves.yaml", "--json", *arguments, seconds=RUN_SECONDS,
        kill_after=kill_after, **{"MLFLOW_TRACKING_URI": registry, **variables},
    )  # fmt: skip
    lines = [line for line in ended.output.splitlines() if line.startswith("{")]
    report = json.loads(lines[-1]) if lines else {}
    if ended.code > 0 and "message" in report:
        return ended._replace(errors=report["message"])
    return ended


def read_results(folder: Path, store: str | Path = STORE) -> dict[str, str]:
    """Return what the store's models are: hashes of their weights, and scores of their reports.

    By the artifact's key and the file's name. What cannot be read is left out.
    """
    results = {}
    for path in sorted((folder / store).glob("*/*/manifest.json")):
        stage = path.parents[1].name
        try:
            manifest = json.loads(path.read_bytes())
            attempt, facts = path.parent / manifest["attempt"], manifest["facts"]
            if stage == "train":
                for file in sorted(attempt.glob("bundle/*")):
                    results[f"train/{path.parent.name}/{file.name}"] = hash_file(file)
            elif stage == "evaluate":
                results[f"evaluate/{path.parent.name}"] = json.dumps(facts["metrics"])
        except (ValueError, LookupError, TypeError):
            continue
    return results


def list_weights(results: dict[str, str]) -> list[tuple[str, str]]:
    """List the names and hashes of the files of weights."""
    names = ("network.safetensors", "featurizer.safetensors")
    return sorted(
        (path.rpartition("/")[2], value) for path, value in results.items() if path.endswith(names)
    )


def list_model_files(folder: Path) -> list[Path]:
    """List the files of models and reports: in the store, and of registered versions."""
    stores = [folder / STORE / "train", folder / STORE / "evaluate"]
    files = [path for store in stores for path in store.glob("*/*/**/*")]
    return [path for path in files + list_registered_files(folder) if path.is_file()]


def list_registered_files(folder: Path) -> list[Path]:
    """List the files of registered versions that come from the store: bundles and reports."""
    root = folder / ".ostinato" / "mlflow" / "artifacts"
    return [*root.glob("**/artifacts/bundle/*"), *root.glob("**/artifacts/report.*"),
            *root.glob("**/artifacts/gate.*")]  # fmt: skip


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_versions(folder: Path) -> list[tuple[str, str]]:
    """Return the name and number of every registered version in MLflow's database."""
    with sqlite3.connect(folder / DATABASE) as database:
        rows = database.execute("SELECT name, version FROM model_versions ORDER BY 1, 2")
        return [(str(name), str(version)) for name, version in rows]


def list_leftovers(folder: Path) -> list[str]:
    """Return what is left in the store's staging folder."""
    return sorted(path.name for path in (folder / STORE / ".staging").glob("*"))


def stop(process: "subprocess.Popen[Any]") -> None:
    """End a process that was started here."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_for_url(url: str, process: "subprocess.Popen[Any]") -> None:
    """Wait until a server of our own answers."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server of {url} has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} does not answer")
