"""Delta Lake and Iceberg tables are read at one version, from local folders and S3."""

import base64
import errno
import json
import shutil
import string
import struct
import sys
from pathlib import Path

import fsspec
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import StaticTable

from tasks.dataset import external_sort
from tasks.errors import SourceDownError, SourceError, StoreError
from tasks.ingestion.tables.lakehouse import find_newest_metadata
from tasks.ingestion.tables.reader import (
    RowRange,
    Table,
    count_rows,
    detect_table_kind,
    find_newest,
    read_table_schema,
    read_table_version,
)
from tests.support.postgres import find_free_port
from tests.support.tables import LATER, SALES, create_iceberg, read_rows

pytestmark = [
    # Polars asks for a faster planner of Iceberg's files; these tables have three.
    pytest.mark.filterwarnings("ignore:Iceberg scan planning"),
    # aiobotocore's and moto's connections are closed by the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("deltalake", "delta"),
        ("pyiceberg.table", "iceberg"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch, module: str, extra: str
) -> None:
    metadata_dir = tmp_path / {"delta": "_delta_log", "iceberg": "metadata"}[extra]
    metadata_dir.mkdir()
    (metadata_dir / "v1.metadata.json").touch()
    monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(SourceError, match=rf"-m pip install '[a-z]*{extra}"):
        read_table_schema(Table(uri=str(tmp_path)))


def test_a_pinned_delta_version_is_read_after_later_writes(tmp_path: Path) -> None:
    table = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(table.uri)
    pinned = Table(uri=table.uri, version=read_table_version(table))

    LATER.write_delta(table.uri, mode="append", delta_write_options={"schema_mode": "merge"})

    assert_pinned_and_newest(table, pinned)


def test_a_pinned_iceberg_version_is_read_after_later_writes(tmp_path: Path) -> None:
    table = Table(uri=create_iceberg(tmp_path, SALES, LATER))
    metadata = StaticTable.from_metadata(find_newest_metadata(table.uri)[0]).metadata
    first = metadata.snapshots[0].snapshot_id

    assert_pinned_and_newest(table, Table(uri=table.uri, version=f"{metadata.table_uuid}@{first}"))


def assert_pinned_and_newest(table: Table, pinned: Table) -> None:
    assert read_rows(pinned, order_by="id").equals(SALES)
    assert read_table_schema(pinned) == SALES.schema
    assert count_rows(pinned, None) == 6
    assert count_rows(table, None) == 12
    assert read_rows(table, order_by="id")["note"].to_list() == [None] * 6 + ["new"] * 6
    assert read_table_version(table) != read_table_version(pinned) == pinned.version


def test_delta_partitions_and_deleted_rows_are_respected(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"), delta_write_options={"partition_by": ["shop"]})
    DeltaTable(str(tmp_path / "t")).delete("id = 4")
    table = Table(uri=str(tmp_path / "t"))

    rows = read_rows(table, RowRange(column="shop", after="", until="it's"), order_by="id")

    assert rows["id"].to_list() == [1, 6]
    assert rows.select("shop").rows() == [("a",), ("it's",)]


def encode_deletion_vector(*rows: int) -> str:
    """Encode a deletion vector as in Delta's log: a portable Roaring bitmap in Z85."""
    bitmap = struct.pack("<iqi", 1681511377, 1, 0)
    bitmap += struct.pack("<iiHHI", 12346, 1, 0, len(rows) - 1, 16)
    bitmap += struct.pack(f"<{len(rows)}H", *rows)
    bitmap += b"\0" * (-len(bitmap) % 4)
    base85 = string.digits + string.ascii_uppercase + string.ascii_lowercase
    z85 = string.digits + string.ascii_lowercase + string.ascii_uppercase
    return (
        base64.b85encode(bitmap)
        .decode()
        .translate(
            str.maketrans(base85 + "!#$%&()*+-;<=>?@^_`{|}~", z85 + ".-:+=^!/*?&<>()[]{}@%$#")
        )
    )


def test_delta_rows_in_a_deletion_vector_are_not_read(tmp_path: Path) -> None:
    SALES.write_delta(
        str(tmp_path / "t"),
        delta_write_options={"configuration": {"delta.enableDeletionVectors": "true"}},
    )
    table = Table(uri=str(tmp_path / "t"))
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    first = [json.loads(line) for line in log.read_text().splitlines()]
    add = next(action["add"] for action in first if "add" in action)
    bitmap = encode_deletion_vector(1, 3)
    vector = {
        "storageType": "i",
        "pathOrInlineDv": bitmap,
        "sizeInBytes": len(bitmap) * 4 // 5,
        "cardinality": 2,
    }
    remove = {"path": add["path"], "dataChange": True, "deletionTimestamp": 1}
    actions = [{"remove": remove}, {"add": add | {"deletionVector": vector}}]
    log.with_name(f"{1:020}.json").write_text("\n".join(map(json.dumps, actions)))

    assert read_rows(table, order_by="id")["id"].to_list() == [1, 3, 5, 6]
    assert count_rows(table, RowRange(column="id", after=1)) == 3
    assert count_rows(table, None) == 4


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_lakehouse_tables_are_read_from_s3(
    kind: str, s3_bucket: str, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setenv("AWS_S3_ALLOW_UNSAFE_RENAME", "true")
    uri = f"s3://{s3_bucket}/n/sales"
    if kind == "delta":
        SALES.write_delta(uri)
    else:
        create_iceberg(tmp_path, SALES, warehouse=f"s3://{s3_bucket}")
    table = Table(uri=uri)
    span = RowRange(column="id", after=1, until=5)

    assert detect_table_kind(uri) == kind
    assert read_rows(table, span, "id").equals(SALES.slice(1, 4))
    pinned = Table(uri=uri, version=read_table_version(table))
    assert count_rows(pinned, None) == 6


def test_a_renamed_iceberg_column_has_its_old_rows(tmp_path: Path) -> None:
    table = Table(uri=create_iceberg(tmp_path, SALES))
    catalog = SqlCatalog("c", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=tmp_path.as_uri())
    stored = catalog.load_table("n.sales")
    before = read_table_version(table)

    with stored.update_schema() as update:
        update.rename_column("kwh", "energy")
    with stored.update_spec() as spec:
        spec.add_identity("shop")
    assert read_table_version(table) == before
    assert "kwh" in read_table_schema(table)
    stored.append(LATER.select("id", "at", "shop", energy="kwh").to_arrow())
    stored.delete("id = 11")
    catalog.close()

    rows = read_rows(table, order_by="id")
    assert rows["id"].to_list() == [1, 2, 3, 4, 5, 6, 12, 13, 14, 15, 16]
    assert rows["energy"].to_list() == [*SALES["kwh"], *SALES["kwh"][1:]]
    assert read_rows(Table(uri=table.uri, version=before), order_by="id").equals(SALES)


def test_a_recreated_table_is_another_table(tmp_path: Path) -> None:
    table = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(table.uri)
    version = read_table_version(table)
    shutil.rmtree(table.uri)
    SALES.write_delta(table.uri)

    with pytest.raises(SourceError, match="another table than it was"):
        read_rows(Table(uri=table.uri, version=version))


def test_a_missing_version_is_reported(tmp_path: Path) -> None:
    delta = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(delta.uri)
    iceberg = Table(uri=create_iceberg(tmp_path, SALES))

    for table in (delta, iceberg):
        identity = read_table_version(table).partition("@")[0]
        with pytest.raises(SourceError, match="cannot be read as"):
            read_rows(Table(uri=table.uri, version=f"{identity}@77"))
        with pytest.raises(SourceError, match="is no version"):
            read_rows(Table(uri=table.uri, version="newest"))


def test_a_table_with_a_missing_file_is_reported(tmp_path: Path) -> None:
    delta = Table(uri=str(tmp_path / "t"))
    SALES.write_delta(delta.uri)
    iceberg = Table(uri=create_iceberg(tmp_path, SALES))

    for table in (delta, iceberg):
        for file in Path(table.uri).rglob("*.parquet"):
            file.unlink()
        with pytest.raises(SourceError, match="cannot be read as"):
            read_rows(table, order_by="id")


def test_an_iceberg_table_without_rows_has_a_schema(tmp_path: Path) -> None:
    table = Table(uri=create_iceberg(tmp_path, SALES.head(0)))

    assert read_table_schema(table) == SALES.schema
    assert read_rows(table, order_by="id").is_empty()
    assert find_newest(table, "id") is None
    assert read_rows(Table(uri=table.uri, version=read_table_version(table))).is_empty()


def test_a_lakehouse_table_cannot_be_queried(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"))

    with pytest.raises(SourceError, match="cannot be queried"):
        read_rows(Table(uri=str(tmp_path / "t"), query="SELECT 1"))
    with pytest.raises(SourceError, match="is no table"):
        read_rows(Table(uri=str(tmp_path)))


def test_an_unreachable_storage_is_transient(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{find_free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()

    with pytest.raises(SourceDownError, match="could not be reached"):
        detect_table_kind("s3://bucket/table")
    with pytest.raises(SourceError, match="unknown"):
        detect_table_kind("unknown://bucket/table")


def test_a_full_disk_is_not_blamed_on_the_table(tmp_path: Path, monkeypatch) -> None:
    def fail_with_full_disk(*_) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    SALES.write_delta(str(tmp_path / "t"))
    monkeypatch.setattr(external_sort, "RANGE_BYTES", 64)
    monkeypatch.setattr(external_sort, "_write_ranges", fail_with_full_disk)

    with pytest.raises(StoreError, match=r"temporary folder.*No space left"):
        read_rows(Table(uri=str(tmp_path / "t")), order_by="id")


def test_delta_features_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    SALES.write_delta(str(tmp_path / "t"))
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "protocol" in action:
            action["protocol"] = {"minReaderVersion": 2, "minWriterVersion": 5}
    log.write_text("\n".join(map(json.dumps, actions)))

    with pytest.raises(SourceError, match="cannot be read as delta"):
        read_rows(Table(uri=str(tmp_path / "t")))
