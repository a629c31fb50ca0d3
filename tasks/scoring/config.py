"""The job file's section `score`."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from tasks.triggers.schedule import ScheduleConfig

RowSelection = Literal["auto", "all", "last"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreConfig:
    """Batch scoring with the champion: of which rows, when, and where to."""

    __pydantic_config__: ClassVar = {"extra": "forbid", "use_attribute_docstrings": True}

    schedule: ScheduleConfig | None = None
    """When rows are scored automatically; by default only by hand."""
    source: str | None = None
    """Source that is scored instead of the job's own: files as in `source.uri`, or a table in
    another database."""
    output: str | None = None
    """Folder or URI for the datasets of predictions; by default `scores/<name>` in the store."""
    passthrough_columns: tuple[str, ...] = ()
    """Source columns that are copied to the predictions, besides id, entity and time."""
    rows: RowSelection = "auto"
    """For windows, whether a prediction is made at every row (`all`) or only at the end of each
    series (`last`). `auto`: last for forecasts, all for other targets."""
