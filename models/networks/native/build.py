"""Compile the kernels with the user's own compiler, once, into the user's cache.

Nothing happens at import. What is compiled is named after all that decides what it computes: first
sources, flags and processor, so that a home on several machines holds one for each, then the
compiler, so that what is there is still of use where the compiler has gone. It is written beside
its place and put there by one atomic step: two processes that build at once both end with a whole
one.
"""

import os
import platform
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path

SOURCES = Path(__file__).parent
COMPILERS = "c++", "g++", "clang++"
FLAGS = "-std=c++17", "-O3", "-march=native", "-fPIC", "-shared", "-pthread", "-Wno-psabi"
PATIENCE = 120.0
"""Seconds after which a compiler is given up."""
LETTERS = 16
"""Of each half of the name that says what was compiled."""


class CompilerError(OSError):
    """The kernels cannot be had here."""


def built() -> Path:
    """Return the compiled kernels, compiling them unless it has been done.

    Raises:
        CompilerError: none are there, and there is no compiler, or it fails.
    """
    own, folder = own_name(), cache_dir()
    try:
        compiler = find_compiler()
    except CompilerError:
        if standing := sorted(folder.glob(f"{own}-*.so")):
            return standing[0]
        raise
    place = folder / f"{own}-{named(finished([compiler, '--version']).encode())}.so"
    if not place.exists():
        compile_to(place, compiler)
    return place


def standing(name: str) -> Path:
    """Return the kernels of this name, compiled earlier for this processor.

    Raises:
        CompilerError: they are not there.
    """
    place = cache_dir() / f"{name}.so"
    if not name.startswith(own_name()) or not place.exists():
        raise CompilerError(f"{place} is not there, or not for this processor")
    return place


def find_compiler() -> str:
    """Return the first compiler of C++ that is there.

    Raises:
        CompilerError: there is none.
    """
    for name in COMPILERS:
        if found := shutil.which(name):
            return found
    raise CompilerError(f"no compiler of C++ on the path (looked for {', '.join(COMPILERS)})")


def cache_dir() -> Path:
    """Return the folder of the user's that holds what was compiled.

    Raises:
        CompilerError: there is no home, or others may write there.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "ostinato"
    except RuntimeError as error:
        raise CompilerError("this user has no home to keep kernels in") from error
    # Nobody else may leave code there.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = folder.stat()
    if told.st_uid != os.geteuid() or told.st_mode & 0o022:
        raise CompilerError(f"others may write to {folder}, and code is loaded from there")
    return folder


def own_name() -> str:
    """Name what these sources come to on this processor, whatever the compiler."""
    parts = [path.read_bytes() for path in sources()]
    return f"kernels-{named(*parts, ' '.join(FLAGS).encode(), processor().encode())}"


def named(*parts: bytes) -> str:
    """Name all of this."""
    return sha256(b"\0".join(parts)).hexdigest()[:LETTERS]


def sources() -> list[Path]:
    """List the texts that are compiled, and those that they include.

    Raises:
        CompilerError: they did not come along with the package.
    """
    found = sorted(path for path in SOURCES.iterdir() if path.suffix in {".cpp", ".h"})
    if not found:
        raise CompilerError(f"{SOURCES} holds no sources")
    return found


def processor() -> str:
    """Tell which instructions this processor has."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    known = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(known)])


def compile_to(place: Path, compiler: str) -> None:
    """Compile, and put the result in its place in one step.

    Raises:
        CompilerError: says what the compiler said.
    """
    texts = [str(path) for path in sources() if path.suffix == ".cpp"]
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        made = Path(folder) / place.name
        finished([compiler, *FLAGS, "-o", str(made), *texts])
        made.replace(place)


def finished(command: list[str]) -> str:
    """Run a command and return what it prints.

    Raises:
        CompilerError: it fails.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler over our own sources
            command, capture_output=True, text=True, check=True, timeout=PATIENCE
        )
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()
        raise CompilerError(f"{command[0]} fails: {said[0] if said else error}") from error
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{command[0]} took over {PATIENCE:.0f} seconds") from error
    return done.stdout
