"""`docs/job.md`: fresh, and complete."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flows.commands.job_reference import format_job_reference
from flows.job.job import format_schema

PAGE = Path(__file__).parents[3] / "docs" / "job.md"


def list_keys(node: Any) -> Iterator[str]:
    yield from node.get("properties", {})
    for part in node.get("$defs", {}).values():
        yield from list_keys(part)


def test_the_page_is_generated_from_the_schema() -> None:
    assert PAGE.read_text(encoding="utf-8") == format_job_reference(json.loads(format_schema()))


def test_every_key_of_the_schema_is_on_the_page() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))

    assert named == set(list_keys(json.loads(format_schema())))


def test_a_key_shows_its_choices_its_default_and_its_description() -> None:
    text = format_job_reference(
        {
            "description": "A job.",
            "required": ["inputs"],
            "properties": {
                "inputs": {"items": {"oneOf": [{"$ref": "#/$defs/Text"}]}, "type": "array"},
                "gate": {"anyOf": [{"$ref": "#/$defs/Gate"}, {"type": "null"}], "default": None},
            },
            "$defs": {
                "Text": {"properties": {"kind": {"const": "text"}}},
                "Gate": {
                    "properties": {
                        "mode": {"enum": ["a", "b"], "default": "a", "description": "Which\none."}
                    }
                },
            },
        }
    )

    assert "| `inputs` | list of section | required | Section `inputs` below. |" in text
    assert "### `kind: text`" in text
    assert "## `gate`" in text
    assert "| `mode` | `a`, `b` | `a` | Which one. |" in text
