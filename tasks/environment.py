"""What computes here: packages and processor, as far as the last bit of a model depends on them."""

import platform
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as metadata_version

PACKAGES = ("torch", "numpy", "polars", "pyarrow", "pandas", "safetensors", "pillow", "tokenizers")
"""Packages whose version may change what is learned."""


def find_installed_version(name: str) -> str:
    """Version of an installed package; empty where there is none."""
    try:
        return metadata_version(name)
    except PackageNotFoundError:
        return ""


def describe_environment(device: str) -> dict[str, str]:
    """Collect what the bits of a model depend on, by name: packages, processor, device.

    Args:
        device: where the model was trained: cpu or cuda.
    """
    packages = {name: find_installed_version(name) for name in PACKAGES}
    return {
        "ostinato": find_installed_version("ostinato"),
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: found for name, found in packages.items() if found},
        "device": device,
        "processor": describe_processor(),
    }


def describe_processor() -> str:
    """Name the kind of processor: other kinds add in another order."""
    import torch

    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
