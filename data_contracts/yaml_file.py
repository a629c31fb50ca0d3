"""YAML files that a person writes: read within bounds, with every fault told by its line.

PyYAML's safe loader keeps the last of two equal keys, expands aliases without a bound, and lets
errors of Python escape, such as that of the date 2024-13-45.
"""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

_MAX_BYTES = 1_000_000
_MAX_DEPTH = 32
"""Levels of lists and sections."""
_MAX_VALUES = 20_000
"""Values of a file, with those of its aliases."""
_MAX_MESSAGE = 300


class YamlFileError(ValueError):
    """A file is not YAML, or beyond the bounds."""


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses equal keys, and tells the line of every fault."""

    def get_single_node(self) -> yaml.Node | None:
        """Compose the only document, and measure it before anything is made of it."""
        node: yaml.Node | None = super().get_single_node()
        if node is not None and _count_values(node) > _MAX_VALUES:
            raise YamlFileError(f"it has more than {_MAX_VALUES:,} values")
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: ANN401 - PyYAML's
        """Make the object of a node."""
        try:
            return super().construct_object(node, deep=deep)
        except (ValueError, TypeError, OverflowError) as error:
            if isinstance(error, YamlFileError):
                raise
            raise YamlFileError(f"{_format_place(node)}: {error}") from error

    def construct_mapping(
        self,
        node: yaml.MappingNode,
        deep: bool = False,
    ) -> dict[Hashable, Any]:
        """Make a section, unless it has a key twice."""
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in lines and name != "<<":
                place = f"in the lines {lines[name]} and {key.start_mark.line + 1}"
                raise YamlFileError(f"the key {name} is there twice, {place}; remove one")
            lines[name] = key.start_mark.line + 1
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read the only document of a file.

    Raises:
        OSError: the file cannot be read.
        YamlFileError: it is not YAML, has a key twice, or is larger, deeper or fuller than any
            file that a person writes; the message gives the line.
    """
    with path.open("rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise YamlFileError(f"{path} is larger than {_MAX_BYTES:,} bytes")
    return parse_yaml(content.decode("utf-8", errors="surrogateescape"), str(path))


def parse_yaml(text: str, name: str) -> Any:  # noqa: ANN401 - whatever the text holds
    """Parse a document.

    Args:
        text: the document.
        name: how messages call it.

    Raises:
        YamlFileError: as `read_yaml`.
    """
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except RecursionError:
        problem = f"it has more than {_MAX_DEPTH} levels of lists and sections"
    except (yaml.YAMLError, YamlFileError) as error:
        problem = re.sub(r"\s+", " ", str(error))
    if len(problem) > _MAX_MESSAGE:
        problem = f"{problem[: _MAX_MESSAGE // 2]} ... {problem[-_MAX_MESSAGE // 2 :]}"
    raise YamlFileError(f"{name} is not YAML: {problem}") from None


def _count_values(node: yaml.Node, *, depth: int = 1) -> int:
    """Count the values below a node, aliases expanded, up to the bound.

    Raises:
        YamlFileError: it is too deep, or contains itself.
    """
    if depth > _MAX_DEPTH:
        raise YamlFileError(
            f"{_format_place(node)}: more than {_MAX_DEPTH} levels of lists and sections"
        )
    if isinstance(node, yaml.ScalarNode):
        return 1
    pairs = isinstance(node, yaml.MappingNode)
    total = 1
    for child in [each for pair in node.value for each in pair] if pairs else node.value:
        total += _count_values(child, depth=depth + 1)
        if total > _MAX_VALUES:
            break
    return total


def _format_place(node: yaml.Node) -> str:
    """Return where a node begins."""
    return f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}"
