"""Compile the kernels with the user's own compiler, once, into the user's cache.

Nothing happens at import. The name of a library is a hash of all that decides its results: first
sources, flags and processor, so that a home folder on several machines has one for each, then the
compiler, so that a library is found again after its compiler was removed. It is written to a
temporary file and moved into place atomically: of two processes that compile at once, both end
with a complete library.
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
TIMEOUT_SECONDS = 120.0
"""Seconds after which a compiler is stopped."""
NAME_LENGTH = 16
"""Characters of each of the two hashes in a library's name."""


class CompilerError(OSError):
    """The kernels are not available here."""


def find_or_compile() -> Path:
    """Return the compiled kernels, compiling them unless it has been done.

    Raises:
        CompilerError: no library exists, and there is no compiler, or it fails.
    """
    own, folder = _name_kernels(), cache_dir()
    try:
        compiler = find_compiler()
    except CompilerError:
        if standing := sorted(folder.glob(f"{own}-*.so")):
            return standing[0]
        raise
    place = folder / f"{own}-{_hash_parts(_run_command([compiler, '--version']).encode())}.so"
    if not place.exists():
        _compile_to(place, compiler)
    return place


def find_compiled(name: str) -> Path:
    """Return the kernels of this name, compiled earlier for this processor.

    Raises:
        CompilerError: they are not there.
    """
    place = cache_dir() / f"{name}.so"
    if not name.startswith(_name_kernels()) or not place.exists():
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
        raise CompilerError("this user has no home folder for compiled kernels") from error
    # Nobody else may leave code there.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise CompilerError(f"others may write to {folder}, and code is loaded from there")
    return folder


def _name_kernels() -> str:
    """Return the compiler-independent part of the library's name."""
    parts = [path.read_bytes() for path in _list_sources()]
    return (
        f"kernels-{_hash_parts(*parts, ' '.join(FLAGS).encode(), _describe_processor().encode())}"
    )


def _hash_parts(*parts: bytes) -> str:
    """Return the first characters of a SHA-256 of these parts."""
    return sha256(b"\0".join(parts)).hexdigest()[:NAME_LENGTH]


def _list_sources() -> list[Path]:
    """List the sources that are compiled, and the headers that they include.

    Raises:
        CompilerError: they did not come along with the package.
    """
    found = sorted(path for path in SOURCES.iterdir() if path.suffix in {".cpp", ".h"})
    if not found:
        raise CompilerError(f"{SOURCES} holds no sources")
    return found


def _describe_processor() -> str:
    """Describe this processor's model and instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    known = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(known)])


def _compile_to(place: Path, compiler: str) -> None:
    """Compile, and put the result in its place in one step.

    Raises:
        CompilerError: with the compiler's first error line.
    """
    texts = [str(path) for path in _list_sources() if path.suffix == ".cpp"]
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        made = Path(folder) / place.name
        _run_command([compiler, *FLAGS, "-o", str(made), *texts])
        made.replace(place)


def _run_command(command: list[str]) -> str:
    """Run a command and return what it prints.

    Raises:
        CompilerError: it fails.
    """
    try:
        done = subprocess.run(  # noqa: S603 - the user's own compiler over our own sources
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        raise CompilerError(f"{command[0]} fails: {lines[0] if lines else error}") from error
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{command[0]} took over {TIMEOUT_SECONDS:.0f} seconds") from error
    return done.stdout
