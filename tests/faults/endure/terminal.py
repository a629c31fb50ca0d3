"""`ostinato run` as a process of its own, as a user starts it who has configured nothing."""

import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.faults.endure.case import Ended
from tests.faults.endure.command_server import ROOT
from tests.support.sample_jobs import build_environment


def start_run(folder: Path, *settings: str) -> "subprocess.Popen[str]":
    """Start the job of a folder with some settings."""
    words = [part for setting in settings for part in ("--set", setting)]
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli.main", "run", "waves.yaml", *words],
        cwd=folder,
        env=build_environment() | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish_run(process: "subprocess.Popen[str]", *, seconds: float) -> Ended:
    """Wait for the end of a run, which hangs when it takes longer than that."""
    start_time = time.perf_counter()
    timed_out = False
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        timed_out = True
        output, errors = kill(process, whole=True)
    ended = time.perf_counter() - start_time
    return Ended(process.returncode, output, errors, ended, 0, timed_out)


def kill(process: "subprocess.Popen[str]", *, whole: bool) -> tuple[str, str]:
    """Kill a command (SIGKILL), with the server that it has started or alone; return its output."""
    servers = []
    if process.poll() is None:
        servers = psutil.Process(process.pid).children(recursive=True) if whole else []
        process.kill()
    for server in servers:
        if server.is_running():
            server.kill()
    return process.communicate()
