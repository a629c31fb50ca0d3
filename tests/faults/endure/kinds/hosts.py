"""Two machines that have one name, as containers do: leases on one store.

Each is a process in a PID namespace of its own, so that the number of the one's process means
nothing to the other. A machine that dies is killed; one that hangs is stopped, and goes on later.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.faults.endure.case import CannotRun, Case
from tests.faults.endure.command_server import ROOT
from tests.faults.endure.workshop import Workshop
from tests.support.sample_jobs import build_environment

KIND = "two hosts of one name"
COUNT, SLICE = 8, 2

STALE_SECONDS, LOST_SECONDS = 12.0, 8.0
"""Instead of 90 and 60, in the same proportion to the others."""

_HOLDER = """
import json, sys, time
from tasks.errors import LeaseHeldError
from tasks.storage import lease as module
from tasks.storage.store import StoreConfig, open_store, write_bytes

stale, lost, held = map(float, sys.argv[2:5])
module.STALE_SECONDS, module._LOST_SECONDS = stale, lost
module.RENEW_SECONDS, module._WATCH_SECONDS = lost / 4, 0.2
store = open_store(StoreConfig(uri=sys.argv[1]))

def say(**words):
    print(json.dumps(words), flush=True)

say(event="ready")
for line in sys.stdin:
    try:
        with module.hold_lease(store, "checkpoints/k") as lease:
            say(event="held", number=lease.number)
            end = time.monotonic() + held
            while time.monotonic() < end:
                lease.check()
                write_bytes(store, "checkpoints/k/state", str(lease.number).encode())
                time.sleep(0.05)
        say(event="released")
    except LeaseHeldError as error:
        say(event="refused", why=str(error))
"""


class Host:
    """A process in a PID namespace of its own, which takes a lease when it is told to."""

    def __init__(self, store: Path, *, held: float) -> None:
        """Start it, and wait until it has imported the product.

        Raises:
            CannotRun: this user may not make namespaces.
        """
        words = [str(store), str(STALE_SECONDS), str(LOST_SECONDS), str(held)]
        self.process = subprocess.Popen(
            [*find_unshare(), sys.executable, "-c", _HOLDER, *words],
            cwd=ROOT,
            env=build_environment() | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.read() == {"event": "ready"}

    def take(self) -> None:
        """Let it take the lease."""
        assert self.process.stdin is not None
        self.process.stdin.write("take\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Return what it says next."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the host has ended"
        return dict(json.loads(line))

    def find_pid(self) -> int:
        """Return the number of its Python process, seen from here."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(path.read_text().split()[0])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its Python process."""
        os.kill(self.find_pid(), number)

    def close(self) -> None:
        """End it."""
        if self.process.poll() is None:
            self.send(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


def find_unshare() -> list[str]:
    """Return the command that makes a PID namespace.

    Raises:
        CannotRun: there is none, or this user may not.
    """
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    for further in ([], ["--user", "--map-root-user"]):
        words = [*command, *further]
        if shutil.which("unshare") and subprocess.run(
            [*words, "true"], capture_output=True, check=False
        ).returncode == 0:  # fmt: skip
            return words
    raise CannotRun("this user may not make PID namespaces")


def list_cases(seed: int, count: int = COUNT) -> Iterator[Case]:
    """List each of the scenes, with seeded waits."""
    scenes = (judge_living, judge_paused, judge_dead, judge_turns)
    for index in range(count):
        scene = scenes[index % len(scenes)]
        draw = random.Random(f"{seed}/{KIND}/{index}")
        name = f"{index:02} {scene.__name__.removeprefix('judge_')}"
        yield Case(KIND, name, partial(judge_scene, scene, draw))


def judge_scene(scene: Any, draw: random.Random, workshop: Workshop) -> str | None:
    """Play a scene with two hosts."""
    store = workshop.make_folder() / "store"
    long = 1.0 if scene is judge_turns else 3 * STALE_SECONDS
    first, second = Host(store, held=long), Host(store, held=1.0)
    try:
        first.take()
        assert first.read()["event"] == "held"
        time.sleep(draw.uniform(0.0, 1.0))
        failure: str | None = scene(first, second, store)
        return failure
    finally:
        first.close()
        second.close()


def judge_living(_first: Host, second: Host, _: Path) -> str | None:
    """A lease that is renewed is not taken."""
    second.take()
    said = second.read()
    return None if said["event"] == "refused" else f"two hold one lease: {said}"


def judge_dead(first: Host, second: Host, _: Path) -> str | None:
    """A lease whose holder was killed is taken, after a bounded time."""
    first.send(signal.SIGKILL)
    start = time.monotonic()
    second.take()
    said = second.read()
    waited = time.monotonic() - start
    if said["event"] != "held":
        return f"the lease of a dead process stays: {said}"
    return f"taken after {waited:.0f} s" if waited > 5 * STALE_SECONDS else None


def judge_paused(first: Host, second: Host, store: Path) -> str | None:
    """A holder that was stopped, and overtaken, writes nothing any more."""
    first.send(signal.SIGSTOP)
    second.take()
    said = second.read()
    if said["event"] != "held":
        return f"the lease of a stopped process stays: {said}"
    assert second.read()["event"] == "released"
    first.send(signal.SIGCONT)
    said = first.read()
    if said["event"] != "refused" or "lost" not in said["why"]:
        return f"the first one was not told: {said}"
    written = (store / "checkpoints" / "k" / "state").read_text()
    return None if written == "2" else f"it wrote after it was overtaken: {written}"


def judge_turns(first: Host, second: Host, _: Path) -> str | None:
    """A lease that is released is taken at once."""
    said = first.read()
    if said["event"] != "released":
        return f"the first one did not finish: {said}"
    start = time.monotonic()
    second.take()
    said = second.read()
    if said["event"] != "held":
        return f"a released lease stays: {said}"
    waited = time.monotonic() - start
    return f"a released lease was taken after {waited:.1f} s" if waited > LOST_SECONDS else None
