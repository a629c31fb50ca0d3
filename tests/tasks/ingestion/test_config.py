"""A source that cannot be read is refused when it is configured."""

import pytest

from tasks.ingestion.config import SourceConfig


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"uri": "postgresql://me:secret@host/db", "query": "t"}, "holds a password"),
        ({"uri": "postgresql://me@host/db"}, "name the database's table"),
        ({"uri": "data.parquet", "query": "t"}, "only a database is queried"),
        ({"uri": " "}, "name a file"),
    ],
)
def test_an_invalid_source_is_refused_at_once(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceConfig(**options)
