"""What the runs before saw of a source: the one small file of the store that changes.

It saves work and notices change; nothing depends on it. Where it is lost, the source is read anew.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tasks.ingestion.config import SourceConfig
from tasks.storage.artifacts import canonical
from tasks.storage.store import Store, read_bytes, write_bytes
from tasks.task_options import logger

KEPT = 200
"""Snapshots that are remembered."""

TYPES: Mapping[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "Decimal": Decimal,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """One snapshot of the source."""

    as_of: str | None
    key: str
    rows: int
    schema: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Rows of a table that were read: above the last watermark, up to this one."""

    until: list[str]
    """The watermark, as its type and its text."""
    rows: int
    key: str
    """The part that holds them."""


@dataclass(kw_only=True, slots=True)
class Trail:
    """All that is remembered of a source."""

    files: dict[str, list[Any]] = field(default_factory=dict)
    """Size, stamp and fingerprint of each file of the newest snapshot."""
    readings: list[Reading] = field(default_factory=list)
    """What was read of a table, oldest first."""
    version: str | None = None
    """The table's version when it was last read to its end, where it has one."""
    columns: dict[str, str] = field(default_factory=dict)
    """The table's columns and types when it was last read."""
    snapshots: list[Seen] = field(default_factory=list)
    """Oldest first."""

    def before(self, as_of: datetime | None) -> Seen | None:
        """Give the last snapshot that was taken as of this time or an earlier one."""
        wanted = as_of.isoformat() if as_of else None
        earlier = [s for s in self.snapshots if wanted is None or (s.as_of or "") <= wanted]
        return earlier[-1] if earlier else None


def absolute(uri: str) -> list[str | int]:
    """Tell one place from another that is written the same way in another folder.

    A database's file also by its number on the disk: another file in its place is another source.
    """
    scheme, mark, path = uri.partition(":///")
    local = path if mark and scheme == "sqlite" else uri
    if "://" in local:
        return [uri]
    place = Path(local).absolute()
    number = place.stat().st_ino if mark and place.is_file() else 0
    return [str(place), number]


def place_of(source: SourceConfig) -> str:
    """Name the file of a source's trail."""
    identity = [*absolute(source.uri), source.query, source.order, source.file_columns]
    return f"trails/{hashlib.sha256(canonical(identity).encode()).hexdigest()[:32]}.json"


def read_trail(store: Store, source: SourceConfig) -> Trail:
    """Read what is remembered; nothing of a source that is new, or where it cannot be read."""
    data = read_bytes(store, place_of(source))
    if data is None:
        return Trail()
    try:
        raw = json.loads(data)
        return Trail(
            files=raw["files"],
            readings=[Reading(**entry) for entry in raw["readings"]],
            version=raw["version"],
            columns=dict(raw["columns"]),
            snapshots=[Seen(**entry) for entry in raw["snapshots"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        logger().warning("%s is damaged and left aside: %s", place_of(source), error)
        return Trail()


def write_trail(store: Store, source: SourceConfig, trail: Trail) -> None:
    """Remember."""
    trail.snapshots = sorted(trail.snapshots, key=lambda seen: seen.as_of or "")[-KEPT:]
    write_bytes(store, place_of(source), json.dumps(asdict(trail), indent=1).encode())


def encode(value: object) -> list[str]:
    """Write a watermark as its type and its text."""
    name = type(value).__name__
    return [name, value.isoformat() if isinstance(value, date) else str(value)]


def decode(pair: list[str]) -> Any:  # noqa: ANN401 - of the column's own type
    """Read a watermark."""
    return TYPES[pair[0]](pair[1])
