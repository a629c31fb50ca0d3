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
    """Return the path of the compiled kernels; compile them where they do not exist.

    Raises:
        CompilerError: no library exists, and there is no compiler, or it fails.
    """
    prefix, folder = _name_kernels(), cache_dir()
    try:
        compiler = find_compiler()
    except CompilerError:
        if existing := sorted(folder.glob(f"{prefix}-*.so")):
            return existing[0]
        raise
    path = folder / f"{prefix}-{_hash_parts(_run_command([compiler, '--version']).encode())}.so"
    if not path.exists():
        _compile_to(path, compiler)
    return path


def find_compiled(name: str) -> Path:
    """Return the path of the kernels of this name, compiled earlier for this processor.

    Raises:
        CompilerError: they do not exist.
    """
    path = cache_dir() / f"{name}.so"
    if not name.startswith(_name_kernels()) or not path.exists():
        raise CompilerError(f"{path} does not exist, or is not for this processor")
    return path


def find_compiler() -> str:
    """Return the path of the first C++ compiler that is installed.

    Raises:
        CompilerError: there is none.
    """
    for name in COMPILERS:
        if path := shutil.which(name):
            return path
    raise CompilerError(f"no C++ compiler on the path (looked for {', '.join(COMPILERS)})")


def cache_dir() -> Path:
    """Return the user's folder of compiled kernels; create it where it does not exist.

    Raises:
        CompilerError: there is no home, or others may write there.
    """
    root = os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "ostinato"
    except RuntimeError as error:
        raise CompilerError("this user has no home folder for compiled kernels") from error
    # Nobody else may write code there.
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
        CompilerError: the package was installed without them.
    """
    sources = sorted(path for path in SOURCES.iterdir() if path.suffix in {".cpp", ".h"})
    if not sources:
        raise CompilerError(f"{SOURCES} contains no sources")
    return sources


def _describe_processor() -> str:
    """Describe this processor's model and instruction sets."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    described = {line for line in lines if line.startswith(("flags", "Features", "model name"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(described)])


def _compile_to(path: Path, compiler: str) -> None:
    """Compile into a temporary folder, and move the library to `path` atomically.

    Raises:
        CompilerError: with the compiler's first error line.
    """
    sources = [str(source) for source in _list_sources() if source.suffix == ".cpp"]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        compiled = Path(folder) / path.name
        _run_command([compiler, *FLAGS, "-o", str(compiled), *sources])
        compiled.replace(path)


def _run_command(command: list[str]) -> str:
    """Run a command and return what it prints.

    Raises:
        CompilerError: it fails.
    """
    try:
        completed = subprocess.run(  # noqa: S603 - the user's own compiler over our own sources
            command, capture_output=True, text=True, check=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or "").strip().splitlines()
        raise CompilerError(f"{command[0]} fails: {lines[0] if lines else error}") from error
    except subprocess.TimeoutExpired as error:
        raise CompilerError(f"{command[0]} took over {TIMEOUT_SECONDS:.0f} seconds") from error
    return completed.stdout
