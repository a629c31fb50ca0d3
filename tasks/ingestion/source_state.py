"""The state of a source between runs: files, watermarks and snapshots that were seen before.

One small JSON file in the store for each source, the only one there that is overwritten. It saves
reading and makes changes noticeable, but no result depends on it: where it is lost or damaged, the
source is read again in full.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from tasks.errors import StoreError
from tasks.ingestion.config import SourceConfig
from tasks.storage.artifacts import format_canonical_json, parse_record
from tasks.storage.store import Store, read_bytes, write_bytes
from tasks.task_options import logger

_MAX_SNAPSHOTS = 200
"""Snapshots that are remembered; the oldest are dropped first."""

_WATERMARK_TYPES: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "Decimal": Decimal,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class SnapshotRecord:
    """What is remembered of one snapshot of the source."""

    as_of: str | None
    """ISO 8601 time up to which it has data."""
    key: str
    """Of the snapshot's artifact."""
    rows: int
    schema: Mapping[str, str]
    """Polars type by column name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WatermarkBatch:
    """Rows of a table that were read together: above the previous watermark, up to this one."""

    until: tuple[str, str]
    """The watermark, as written by `encode_watermark`."""
    rows: int
    key: str
    """Of the part that holds the rows."""


@dataclass(kw_only=True, slots=True)
class SourceState:
    """All that is remembered of a source."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    files: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    """Size, stamp and fingerprint of each file of the newest snapshot, by path."""
    batches: list[WatermarkBatch] = field(default_factory=list)
    """What was read of a table, oldest first."""
    version: str | None = None
    """The table's version when it was last read to its end, where it has versions."""
    columns: dict[str, str] = field(default_factory=dict)
    """The table's columns and types when it was last read."""
    snapshots: list[SnapshotRecord] = field(default_factory=list)
    """Oldest first."""

    def find_snapshot(self, as_of: datetime | None) -> SnapshotRecord | None:
        """Return the last snapshot as of this time or an earlier one; the newest for None."""
        limit = as_of.isoformat() if as_of else None
        earlier = [s for s in self.snapshots if limit is None or (s.as_of or "") <= limit]
        return earlier[-1] if earlier else None


def read_source_state(store: Store, source: SourceConfig) -> SourceState:
    """Read the state of a source; an empty one where there is none or the file is damaged."""
    data = read_bytes(store, _choose_path(source))
    if data is None:
        return SourceState()
    try:
        return _parse_state(data, f"{store.root}/{_choose_path(source)}")
    except (ValueError, KeyError, ArithmeticError, StoreError) as error:
        reason = str(error).splitlines()[0]
        logger().warning("the state of %s is ignored, and it is read anew: %s", source.uri, reason)
        return SourceState()


def write_source_state(store: Store, source: SourceConfig, state: SourceState) -> None:
    """Write the state of a source, with its newest snapshots only."""
    state.snapshots = sorted(state.snapshots, key=lambda record: record.as_of or "")
    state.snapshots = state.snapshots[-_MAX_SNAPSHOTS:]
    write_bytes(store, _choose_path(source), json.dumps(asdict(state), indent=1).encode())


def encode_watermark(value: object) -> tuple[str, str]:
    """Write a watermark as the name of its type and its text, so that JSON can hold it."""
    name = type(value).__name__
    return name, value.isoformat() if isinstance(value, date) else str(value)


def decode_watermark(pair: tuple[str, str]) -> Any:  # noqa: ANN401 - of the column's own type
    """Read a watermark that `encode_watermark` wrote."""
    return _WATERMARK_TYPES[pair[0]](pair[1])


def _parse_state(data: bytes, path: str) -> SourceState:
    """Parse a state, its watermarks too.

    Raises:
        ValueError, KeyError, ArithmeticError, StoreError: it is damaged.
    """
    state = parse_record(SourceState, json.loads(data), path)
    for batch in state.batches:
        decode_watermark(batch.until)
    return state


def _identify_uri(uri: str) -> list[str | int]:
    """Return what makes a source unique: its URI, or the absolute path of a local one.

    A SQLite file is identified by its inode too: another file under the same path is another
    source.
    """
    scheme, mark, path = uri.partition(":///")
    local = path if mark and scheme == "sqlite" else uri
    if "://" in local:
        return [uri]
    absolute = Path(local).absolute()
    inode = absolute.stat().st_ino if mark and absolute.is_file() else 0
    return [str(absolute), inode]


def _choose_path(source: SourceConfig) -> str:
    """Return the path in the store of a source's state."""
    identity = [
        *_identify_uri(source.uri),
        source.query,
        source.watermark_column,
        source.file_columns,
        *([dict(source.parse)] if source.parse else []),
    ]
    digest = hashlib.sha256(format_canonical_json(identity).encode()).hexdigest()[:32]
    return f"source_states/{digest}.json"
