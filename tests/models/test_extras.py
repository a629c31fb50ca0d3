"""The advice for a missing package names what pip can install."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from models import extras
from models.extras import describe_install

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def list_metadata() -> list[str]:
    """Return the requirements of all extras, as setuptools writes them."""
    lines = []
    for extra, packages in EXTRAS.items():
        for package in packages:
            name, _, condition = package.partition("; ")
            marker = f'{condition} and extra == "{extra}"' if condition else f'extra == "{extra}"'
            lines.append(f"{name}; {marker}")
    return ["numpy>=2.2", *lines]


@pytest.mark.parametrize("extra", sorted(EXTRAS.keys() - {"dev"}))
def test_the_command_names_the_packages_of_the_extra(extra: str, monkeypatch) -> None:
    monkeypatch.setattr(extras, "requires", lambda _: list_metadata())

    command = describe_install(extra)

    names = {re.split("[^a-z0-9-]", package, maxsplit=1)[0] for package in EXTRAS[extra]}
    assert command.startswith(f"{sys.executable} -m pip install ")
    assert set(re.findall(r"'([a-z0-9-]+)[^']*'", command)) == names
    assert "ostinato" not in command.removeprefix(sys.executable)


def test_without_metadata_the_command_is_that_of_a_source_folder(monkeypatch) -> None:
    def fail(_: str) -> list[str]:
        raise PackageNotFoundError

    monkeypatch.setattr(extras, "requires", fail)

    assert describe_install("spacy") == (
        "pip install --editable '.[spacy]' in the folder of Ostinato's source"
    )


def test_no_message_advises_to_install_ostinato_from_an_index() -> None:
    rooms = ("models", "tasks", "flows", "data_contracts")
    sources = [path for room in rooms for path in (ROOT / room).rglob("*.py")]

    assert len(sources) > 300
    assert [path for path in sources if "install 'ostinato[" in path.read_text()] == []
