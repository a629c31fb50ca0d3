"""What computes here: packages and processor, as far as the last bit of a model depends on them."""

import platform
import sys
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as metadata_version
from pathlib import Path

PACKAGES = ("torch", "numpy", "polars", "pyarrow", "pandas", "safetensors", "pillow", "tokenizers")
"""Packages whose version may change what is learned."""

_CODE = ("data_contracts", "flows", "models", "tasks")
"""The packages that Ostinato is installed as."""

_DIGITS = 12


def find_installed_version(name: str) -> str:
    """Version of an installed package; empty where there is none."""
    try:
        return metadata_version(name)
    except PackageNotFoundError:
        return ""


def describe_code() -> str:
    """Describe the installed code of Ostinato: its version, and the hash of its content.

    Such as `0.1.0+3f1c9a7be204`: two commits of one version differ.
    """
    return f"{find_installed_version('ostinato')}+{hash_code(Path(__file__).parents[1])}"


@cache
def hash_code(root: Path) -> str:
    """Return the first digits of the SHA-256 of the packages' files, byte code apart.

    Args:
        root: folder that the packages are in.
    """
    digest = sha256()
    files = (path for name in _CODE for path in (root / name).rglob("*") if path.is_file())
    for path in sorted(path for path in files if "__pycache__" not in path.parts):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:_DIGITS]


def describe_environment(device: str) -> dict[str, str]:
    """Collect what the bits of a model depend on, by name: packages, processor, device.

    Args:
        device: where the model was trained: cpu or cuda.
    """
    packages = {name: find_installed_version(name) for name in PACKAGES}
    return {
        "ostinato": describe_code(),
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: found for name, found in packages.items() if found},
        "device": device,
        "processor": describe_processor(),
    }


def describe_processor() -> str:
    """Name the kind of processor: other kinds add in another order."""
    import torch

    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
