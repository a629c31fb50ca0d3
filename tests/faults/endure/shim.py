"""Build and switch on `shim.c`: faults below the product, in files and in the clock."""

import ctypes
import errno
import shutil
import struct
import subprocess
from pathlib import Path

from tests.faults.endure.case import CannotRun

SOURCE = Path(__file__).with_name("shim.c")

STORE_PART = ".ostinato/store/"


def build_shim(folder: Path) -> Path:
    """Compile the library.

    Raises:
        CannotRun: there is no C compiler.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise CannotRun("a C compiler is needed")
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def configure_shim() -> None:
    """Let the library read the environment again, where it is loaded."""
    configure = getattr(ctypes.CDLL(None), "endure_configure", None)
    if configure:
        configure()


def build_failing_store(seed: int, *, one_in: int, code: int = errno.EIO) -> dict[str, str]:
    """Return the variables of a store of which one write in some fails."""
    return {
        "ENDURE_STORE": STORE_PART,
        "ENDURE_ONE_IN": str(one_in),
        "ENDURE_SEED": str(seed),
        "ENDURE_ERRNO": str(code),
    }


class JumpingClock:
    """A clock that is ahead of the machine's by a number of seconds that may change."""

    def __init__(self, path: Path) -> None:
        """Begin with the machine's time."""
        self._path = path
        path.write_bytes(struct.pack("<q", 0))

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a command that sees this clock."""
        return {"ENDURE_CLOCK": str(self._path)}

    def jump_to(self, seconds: int) -> None:
        """Set by how much it is ahead; processes that run see it at once."""
        with self._path.open("r+b") as file:
            file.write(struct.pack("<q", seconds))
