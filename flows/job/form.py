"""Types of flow parameters, which make the form of a run in the Prefect UI.

Each field is one input box or drop-down. Prefect's UI shows an optional number as two buttons, and
its server rejects an empty box whose schema has a default; so the schema of an optional field has
the type of a filled box, and no default. The server validates a request against these schemas
before it creates a run.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.annotated_handlers import GetJsonSchemaHandler
from pydantic_core import CoreSchema

from flows.job.job import JOB_ADAPTER
from models.networks.families import FAMILIES
from tasks.gate.comparison import MetricName
from tasks.redaction import NO_SECRET_PATTERN

_DATE_PATTERN = r"^\d{4}-\d\d-\d\d"

_ANNOTATION_KEYS = {"title", "description", "default"}
"""Keywords of a JSON schema that restrict nothing."""

_DURATION_PATTERN = r"^[0-9.]+ ?(s|m|h|d)$"


class _SchemaWithoutDefault(dict[str, Any]):
    """A field's JSON schema that never contains a default."""

    def __setitem__(self, key: str, value: object) -> None:
        """Set any keyword but a default."""
        if key != "default":
            super().__setitem__(key, value)


class _OptionalField:
    """Annotation of a parameter that may be left empty, with the JSON schema of a filled box."""

    def __init__(self, **schema: object) -> None:
        self.schema = schema

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of a filled box."""
        return _SchemaWithoutDefault(self.schema)


class _OverridesField(_OptionalField):
    """A box for settings by dotted key, validated by the schema of the job file."""

    def __get_pydantic_json_schema__(
        self, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema; it is built only when a flow is described."""
        return _SchemaWithoutDefault(
            self.schema | _build_overrides_schema(JOB_ADAPTER.json_schema())
        )


def _build_overrides_schema(job: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the schema of a job file into a schema of its settings by dotted key.

    The error about an unknown key lists only the keys of its section.
    """
    parts = job["$defs"]
    sections = {name: _list_nested_fields(node, parts) for name, node in job["properties"].items()}
    rules: list[dict[str, Any]] = [{"pattern": rf"^({'|'.join(sections)})(\.|$)"}]
    values: dict[str, Any] = {}
    for name, fields in sections.items():
        keys = [name, *(f"{name}.{key}" for key in fields)]
        rules.append({"if": {"pattern": rf"^{name}(\.|$)"}, "then": {"enum": keys}})
        values |= {
            f"^{re.escape(f'{name}.{key}')}$": {
                k: v for k, v in schema.items() if k not in _ANNOTATION_KEYS
            }
            for key, schema in fields.items()
            if "$ref" not in json.dumps(schema)
        }
        # A whole section may be given too; its patterns (no passwords) apply there as well.
        patterns = {
            key: {"pattern": each["pattern"]} for key, each in fields.items() if "pattern" in each
        }
        if patterns:
            values[f"^{name}$"] = {"properties": patterns}
    return {"type": "object", "propertyNames": {"allOf": rules}, "patternProperties": values}


def _list_nested_fields(node: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schemas of a section's fields by dotted key; a list has none."""
    fields = {}
    for each in (node, *node.get("anyOf", [])):
        part = parts.get(each.get("$ref", "").rpartition("/")[2], {})
        for name, schema in part.get("properties", {}).items():
            fields[name] = schema
            nested = _list_nested_fields(schema, parts)
            fields |= {f"{name}.{key}": inner for key, inner in nested.items()}
    return fields


JobFile = Annotated[str, Field(pattern=r"\.ya?ml$")]
"""Path of a job file; only the machine of the run knows whether it exists."""

Preset = Literal["job", "quick", "balanced", "best"]

if TYPE_CHECKING:
    CellChoice = str
    MetricChoice = str
else:
    CellChoice = Literal[("job", *FAMILIES)]
    MetricChoice = Literal[("job", *get_args(MetricName))]

PositiveInteger = Annotated[int | None, _OptionalField(type="integer", minimum=1)]
Seed = Annotated[int | None, _OptionalField(type="integer", minimum=0)]
LearningRate = Annotated[float | None, _OptionalField(type="number", exclusiveMinimum=0, maximum=1)]
Duration = Annotated[str | None, _OptionalField(type="string", pattern=_DURATION_PATTERN)]
Uri = Annotated[str | None, _OptionalField(type="string", pattern=NO_SECRET_PATTERN)]
Timestamp = Annotated[
    datetime | None, _OptionalField(type="string", format="date-time", pattern=_DATE_PATTERN)
]
Overrides = Annotated[dict[str, Any] | None, _OverridesField()]

NEXT_TO_LAST_FIELD: Any = Field(default=None, json_schema_extra={"position": 90})
LAST_FIELD: Any = Field(default=None, json_schema_extra={"position": 91})
"""Default None, and a position below the other fields of the form."""
