"""What a job says of batch scoring."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.triggers.schedule import ScheduleConfig

Rows = Literal["auto", "all", "last"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """What the version that serves answers in batches, and when."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    schedule: ScheduleConfig | None = None
    """When rows are scored by themselves; by hand alone when left out."""
    source: str | None = None
    """What is scored in place of the job's own source: files as in `source.uri`, or a table in
    another database."""
    output: str | None = None
    """Folder or URI that holds the datasets of answers; `scores/<name>` in the store when left
    out."""
    passthrough_columns: tuple[str, ...] = ()
    """Columns that go with each answer, beside the id, the entity and the time."""
    rows: Rows = "auto"
    """Of windows, whether one is answered at every row (`all`) or at the end of each series
    (`last`). `usual`: last for forecasts, all for others."""
