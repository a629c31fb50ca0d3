"""Compile the kernels with the user's own compiler, once, into the user's cache.

Nothing happens at import. What is compiled is named after all that decides what it computes:
sources, compiler, flags and processor, so that a home on several machines holds one for each. It
is written beside its place and put there by one atomic step: two processes that build at once both
end with a whole one.
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
"""Of the name that says what was compiled."""


class CompilerError(OSError):
    """The kernels cannot be had here."""


def built() -> Path:
    """Return the compiled kernels, compiling them unless it has been done.

    Raises:
        CompilerError: no compiler, or it fails.
    """
    compiler = find_compiler()
    place = cache_dir() / f"kernels-{key(compiler)}.so"
    if not place.exists():
        compile_to(place, compiler)
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
    """Return the folder of the user's that holds what was compiled."""
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "ostinato"
    except RuntimeError as error:
        raise CompilerError("this user has no home to keep kernels in") from error
    # Nobody else may leave code there.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def key(compiler: str) -> str:
    """Name what this compiler makes of the sources on this processor."""
    parts = [path.read_bytes() for path in sources()]
    version = finished([compiler, "--version"])
    parts += [version.encode(), " ".join(FLAGS).encode(), processor().encode()]
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
