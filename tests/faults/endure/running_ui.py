"""An `ostinato ui` whose processes are killed: started again after each death, and driven."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.faults.endure.case import Ended
from tests.faults.endure.command_server import ROOT, CommandServer
from tests.faults.endure.workshop import RUN_SECONDS, Workshop, write_inputs
from tests.support.sample_jobs import Pages, send_json, start_pages, wait_until

MODULES = {
    "worker": "flows.deployment.serve",
    "Prefect server": "flows.servers.prefect_server",
    "MLflow server": "mlflow",
}
"""What is in the command line of each child of `ostinato ui`."""

_END_SECONDS = 90.0
"""Seconds in which all processes of `ostinato ui` have to end once one of them has died."""

UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]


class RunningUi:
    """`ostinato ui` with a job, in a folder whose registry outlives its deaths."""

    def __init__(self, workshop: Workshop) -> None:
        """Start it for the first time."""
        self.folder = workshop.make_folder(with_database=True)
        write_inputs(self.folder)
        self._home = workshop.root / "ui"
        self._pages: Pages | None = None
        self._commands: CommandServer | None = None
        self.get_pages()

    def get_pages(self) -> Pages:
        """Return the running one; start one where none runs."""
        if self._pages is None:
            os.environ["PYTHONPATH"] = str(ROOT)
            ports = ("--prefect-port", "0", "--mlflow-port", "0")
            self._pages = start_pages(self.folder, "waves.yaml", *ports)
            if self._commands:
                self._commands.close()
            self._commands = CommandServer(
                self._home,
                PREFECT_API_URL=f"{self._pages.prefect}/api",
                MLFLOW_TRACKING_URI=self._pages.mlflow,
            )
        return self._pages

    def run(self, settings: list[str], *, kill_after: float | None = None) -> Ended:
        """Run the job on its servers."""
        self.get_pages()
        assert self._commands is not None
        words = [part for setting in settings for part in ("--set", setting)]
        return self._commands.run(
            self.folder, "run", "waves.yaml", *words, seconds=RUN_SECONDS, kill_after=kill_after
        )

    def trigger(self, overrides: dict[str, Any]) -> str:
        """Let the worker run the job, and return the id of the run."""
        pages = self.get_pages()
        query = {
            "deployments": {"name": {"any_": ["waves"]}},
            "flows": {"name": {"any_": ["retrain"]}},
        }
        [deployment] = wait_until(
            lambda: send_json(f"{pages.prefect}/api/deployments/filter", query)
        )
        body = {"parameters": {"job_file": "waves.yaml", "overrides": overrides}}
        url = f"{pages.prefect}/api/deployments/{deployment['id']}/create_flow_run"
        return str(send_json(url, body)["id"])

    def read_run(self, run: str) -> str:
        """Return the type of a run's state."""
        query = {"flow_runs": {"id": {"any_": [run]}}}
        [found] = send_json(f"{self.get_pages().prefect}/api/flow_runs/filter", query)
        return str(found["state_type"])

    def list_unfinished(self) -> list[str]:
        """List the runs that the server believes to be running."""
        query = {"flow_runs": {"state": {"type": {"any_": UNFINISHED}}}}
        found = send_json(f"{self.get_pages().prefect}/api/flow_runs/filter", query)
        return [f"{each['name']} {each['state_type']}" for each in found]

    def find_child(self, name: str) -> psutil.Process:
        """Find a child by its name."""
        parent = psutil.Process(self.get_pages().process.pid)
        return next(
            child
            for child in parent.children()
            if any(MODULES[name] in word for word in child.cmdline()[1:4])
        )

    def find_run_process(self) -> psutil.Process | None:
        """Find the process in which the worker runs a flow."""
        children = self.find_child("worker").children()
        return next((each for each in children if "engine" in " ".join(each.cmdline())), None)

    def list_family(self) -> list[psutil.Process]:
        """List all processes of `ostinato ui`, before one of them dies."""
        return list(psutil.Process(self.get_pages().process.pid).children(recursive=True))

    def await_end(self, family: list[psutil.Process]) -> str | None:
        """Wait until `ostinato ui` has ended after the death of one of its processes.

        Returns:
            What is left of it; None where nothing is.
        """
        assert self._pages is not None
        process = self._pages.process
        try:
            process.communicate(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return "ostinato ui goes on without one of its processes"
        finally:
            self._pages = None
        _, living = psutil.wait_procs(family, timeout=30)
        left = []
        for each in living:
            with suppress(psutil.NoSuchProcess):
                left.append(" ".join(each.cmdline()[1:4]))
                each.kill()
        return f"still running after ostinato ui has ended: {left}" if left else None

    def close(self) -> None:
        """Stop it, and delete its folder."""
        if self._pages:
            self._pages.process.send_signal(signal.SIGINT)
            self._pages.process.communicate(timeout=_END_SECONDS)
        if self._commands:
            self._commands.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def kill_after(process: psutil.Process, seconds: float) -> None:
    """Kill a process (SIGKILL) after some seconds, unless it has ended before."""
    time.sleep(seconds)
    if process.is_running():
        process.kill()


def list_manifests(store: Path) -> dict[str, bytes]:
    """Return the manifests of a store: what is finished."""
    return {str(p.relative_to(store)): p.read_bytes() for p in store.glob("*/*/manifest.json")}
