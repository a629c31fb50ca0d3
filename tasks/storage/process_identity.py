"""Which process it was that left something behind, and whether it still runs.

A process id alone says neither: ids are given again, containers have ids of their own, and host
names are shared. Times of the clock are not compared, since clocks jump: on Linux the start of a
process is counted from the boot.
"""

import hashlib
import os
import re
import socket
import uuid
from pathlib import Path
from typing import NamedTuple, Self

import psutil  # type: ignore[import-untyped]

_PATTERN = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)")

_STAT = "/proc/{}/stat"

_START_FIELD, _STATE_FIELD = 19, 0
"""Of a process's stat, counted from the field after the name; see proc_pid_stat(5)."""


class ProcessIdentity(NamedTuple):
    """A process, as no other process is on any machine at any time."""

    machine: str
    """Hash of this boot of the machine, and within it of the container whose ids these are."""
    pid: int
    started: int
    """Clock ticks from the boot to its start; milliseconds since 1970 on systems without /proc."""

    def __str__(self) -> str:
        """Format as `machine-pid-started`."""
        return f"{self.machine}-{self.pid}-{self.started}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Parse what begins with a formatted identity; None where there is none."""
        match = _PATTERN.match(text)
        return cls(match[1], int(match[2]), int(match[3])) if match else None

    def has_ended(self) -> bool:
        """Return whether the process certainly does not run: False for one of another machine."""
        return self.machine == identify_machine() and _read_start(self.pid) != self.started


def identify_process() -> ProcessIdentity:
    """Identify this process."""
    return ProcessIdentity(identify_machine(), os.getpid(), _read_start(os.getpid()) or 0)


def identify_machine() -> str:
    """Identify this boot of this machine and this container, by 12 hexadecimal digits."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        name = f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        name = f"{socket.gethostname()}/{uuid.getnode()}"
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def _read_start(pid: int) -> int | None:
    """Read when a process started; None where it does not run, or only waits for its parent."""
    path = Path(_STAT.format(pid))
    if not Path(_STAT.format("self")).exists():
        try:
            return int(1000 * psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE_FIELD] in "ZX" else int(fields[_START_FIELD])
