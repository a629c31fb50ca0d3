"""The blocks of a CSV file contain the rows of the file."""

from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.ingestion.config import SourceConfig
from tasks.ingestion.files.csv_blocks import is_unquoted_text, read_csv_blocks
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.store import Store
from tests.support.sources import read_snapshot

csv_rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(10**6), 10**6)),
        st.text(st.sampled_from("ab \u00fc'"), max_size=4),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=csv_rows, size=st.integers(1, 60), line_end=st.sampled_from(["\n", "\r\n"]))
def test_the_blocks_of_a_file_contain_its_rows(
    values: list[tuple], size: int, line_end: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.csv"
    cells = [f"{'' if a is None else a},{b}" for a, b in values]
    path.write_bytes(line_end.join(["a,b", *cells, ""]).encode())
    schema = {"a": pl.Int64(), "b": pl.String()}

    frames = list(read_csv_blocks(path, separator=",", schema=schema, size=size))

    assert is_unquoted_text(path)
    assert pl.concat(frames).equals(pl.read_csv(path, schema=schema))


def test_a_quoted_line_feed_does_not_end_a_row(tmp_path: Path, local_store: Store) -> None:
    (tmp_path / "a.csv").write_text('a,b\n1,"x\ny"\n2,z\n')

    rows = read_snapshot(take_snapshot(SourceConfig(uri=str(tmp_path)), local_store), local_store)

    assert rows.rows() == [(1, "x\ny"), (2, "z")]
