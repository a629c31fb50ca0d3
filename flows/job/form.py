"""The form with which a run is started in the Prefect UI: fields, choices, and what is refused.

Each field is one plain box or drop-down. Prefect's pages show an optional number as a pair of
buttons, and its server refuses an empty box whose default is told; so the schema of an optional
field says the type of what may be filled in, and no default. The server holds a request to these
schemas before it creates a run.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from flows.job.job import ADAPTER
from models.networks.families import FAMILIES
from tasks.gate.comparison import MetricName
from tasks.redaction import NO_SECRET

DAY = r"^\d{4}-\d\d-\d\d"

WORDS = {"title", "description", "default"}
"""Of a schema: what refuses nothing."""

DURATION = r"^[0-9.]+ ?(s|m|h|d)$"


class Told(dict[str, Any]):
    """A field's schema that never tells a default."""

    def __setitem__(self, key: str, value: object) -> None:
        """Add all but a default."""
        if key != "default":
            super().__setitem__(key, value)


class Box:
    """Marks a parameter that may be left empty: how its box looks, and what it refuses."""

    def __init__(self, **schema: object) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Give the schema of what may be filled in."""
        return Told(self.schema)


class SettingsBox(Box):
    """A box for settings by dotted key, held to the schema of the job file."""

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Give the schema; it is made only when a flow is described."""
        return Told(self.schema | settings_schema(ADAPTER.json_schema()))


def settings_schema(job: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the schema of a job file into one of its settings by dotted key.

    A wrong key is told beside the keys of its own section, not beside all that there are.
    """
    parts = job["$defs"]
    sections = {name: fields_below(node, parts) for name, node in job["properties"].items()}
    rules: list[dict[str, Any]] = [{"pattern": rf"^({'|'.join(sections)})(\.|$)"}]
    values: dict[str, Any] = {}
    for name, fields in sections.items():
        keys = [name, *(f"{name}.{key}" for key in fields)]
        rules.append({"if": {"pattern": rf"^{name}(\.|$)"}, "then": {"enum": keys}})
        values |= {
            f"^{re.escape(f'{name}.{key}')}$": {k: v for k, v in schema.items() if k not in WORDS}
            for key, schema in fields.items()
            if "$ref" not in json.dumps(schema)
        }
        # A whole section may be given too; what must not be kept is refused there as well.
        held = {
            key: {"pattern": each["pattern"]} for key, each in fields.items() if "pattern" in each
        }
        if held:
            values[f"^{name}$"] = {"properties": held}
    return {"type": "object", "propertyNames": {"allOf": rules}, "patternProperties": values}


def fields_below(node: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Give the schemas of a section's fields by their dotted keys; a list has none."""
    found = {}
    for each in (node, *node.get("anyOf", [])):
        part = parts.get(each.get("$ref", "").rpartition("/")[2], {})
        for name, schema in part.get("properties", {}).items():
            found[name] = schema
            below = fields_below(schema, parts)
            found |= {f"{name}.{key}": inner for key, inner in below.items()}
    return found


JobFile = Annotated[str, Field(pattern=r"\.ya?ml$")]
"""A path; whether the file is there is known where the run starts."""

Preset = Literal["job", "quick", "balanced", "best"]

if TYPE_CHECKING:
    CellChoice = str
    MetricChoice = str
else:
    CellChoice = Literal[("job", *FAMILIES)]
    MetricChoice = Literal[("job", *get_args(MetricName))]

Whole = Annotated[int | None, Box(type="integer", minimum=1)]
Seed = Annotated[int | None, Box(type="integer", minimum=0)]
Rate = Annotated[float | None, Box(type="number", exclusiveMinimum=0, maximum=1)]
Text = Annotated[str | None, Box(type="string")]
Span = Annotated[str | None, Box(type="string", pattern=DURATION)]
Place = Annotated[str | None, Box(type="string", pattern=NO_SECRET)]
Moment = Annotated[datetime | None, Box(type="string", format="date-time", pattern=DAY)]
Settings = Annotated[dict[str, Any] | None, SettingsBox()]

BELOW: Any = Field(default=None, json_schema_extra={"position": 90})
LOWEST: Any = Field(default=None, json_schema_extra={"position": 91})
"""None, in a field that stands below the others wherever the parameter stands."""
