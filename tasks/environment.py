"""What computes here: packages and processor, as far as the last bit of a model depends on them."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as metadata_version
from typing import Any

PACKAGES = ("torch", "numpy", "polars", "pyarrow", "pandas", "safetensors", "pillow", "tokenizers")
"""Packages whose version may change what is learned."""


def installed_version(name: str) -> str:
    """Version of an installed package; empty where there is none."""
    try:
        return metadata_version(name)
    except PackageNotFoundError:
        return ""


def made_by(facts: Mapping[str, Any]) -> dict[str, str]:
    """Tell what made a model, by name.

    Args:
        facts: of its training.
    """
    packages = {name: installed_version(name) for name in PACKAGES}
    return {
        "ostinato": installed_version("ostinato"),
        "python": ".".join(map(str, sys.version_info[:3])),
        **{name: found for name, found in packages.items() if found},
        "device": str(facts.get("device", "unknown")),
        "processor": processor(),
    }


def processor() -> str:
    """Name the kind of processor: other kinds add in another order."""
    import torch

    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
