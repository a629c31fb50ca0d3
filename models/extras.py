"""How to install an optional package, in words that work however Ostinato was installed."""

import re
import sys
from importlib.metadata import PackageNotFoundError, requires


def describe_install(extra: str) -> str:
    """Return the command that installs the packages of one of Ostinato's extras.

    Ostinato itself may be on no package index, so the command names the packages that the extra
    stands for, and the interpreter that runs now.
    """
    packages = " ".join(f"'{name}'" for name in _list_packages(extra))
    if packages:
        return f"{sys.executable} -m pip install {packages}"
    return f"pip install --editable '.[{extra}]' in the folder of Ostinato's source"


def _list_packages(extra: str) -> list[str]:
    """Return the requirements of an extra; empty where Ostinato is not an installed package."""
    try:
        requirements = requires("ostinato") or []
    except PackageNotFoundError:
        return []
    parts = [requirement.partition(";") for requirement in requirements]
    marker = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    return [name.strip() for name, _, condition in parts if marker.search(condition)]
