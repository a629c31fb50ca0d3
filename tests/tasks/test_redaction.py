"""URIs with a secret are refused by every config, and errors do not repeat the secret."""

import re

import pytest

from tasks.ingestion.config import SourceConfig
from tasks.redaction import NO_SECRET_PATTERN, holds_secret, redact
from tasks.storage.store import StoreConfig

URIS_WITH_SECRET = [
    "postgresql://me:s3cret@host/db",
    "postgresql://me:12345@host/db",
    "postgresql://me:s3/cr@et@host/db",
    "postgresql://host/db?user=me&password=s3cret",
    "s3://AKIA123:s3/cr+et@bucket/data/*.parquet",
    "https://s3cret@host/data.csv",
    "HTTPS://me:s3cret@host/data.csv",
    "https://account.blob.core.windows.net/box/data.csv?sv=2024&sig=s3cret",
    "https://bucket.s3.amazonaws.com/data.csv?X-Amz-Signature=s3cret",
    "https://host/data.csv?access_token=s3cret",
]

URIS_WITHOUT_SECRET = [
    "data/weather/*.parquet",
    "C:/data/sales@home.csv",
    "s3://bucket/day=1/a:b@c.parquet",
    "http://host:9000/a@b.csv",
    "http://host:9000",
    "sftp://me@host/data.csv",
    "abfs://box@account.dfs.core.windows.net/data",
    "postgresql://reader@db:5432/shop?sslmode=require",
    "https://host/data.csv?signatures=no&page=2",
    "data/token=5/a.parquet",
    "token=5/a.parquet",
]


@pytest.mark.parametrize("uri", URIS_WITH_SECRET)
def test_a_secret_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    for config in (SourceConfig, StoreConfig):
        with pytest.raises(ValueError, match=r"uri: it holds a password or a token") as refused:
            config(uri=uri)

        assert "s3" + "cret" not in str(refused.value)


@pytest.mark.parametrize("uri", URIS_WITHOUT_SECRET)
def test_uris_that_only_resemble_a_secret_are_accepted(uri: str) -> None:
    assert not holds_secret(uri)
    assert re.search(NO_SECRET_PATTERN, uri)


@pytest.mark.parametrize("uri", [uri for uri in URIS_WITH_SECRET if "X-Amz" not in uri])
def test_the_form_refuses_a_secret_before_the_server_stores_it(uri: str) -> None:
    assert not re.search(NO_SECRET_PATTERN, uri)


def test_user_and_password_are_removed_from_messages() -> None:
    redacted = redact("http://me:s3cret@mlflow:5000/api said 500; see http://mlflow:5000 or a@b.c")

    assert redacted == "http://mlflow:5000/api said 500; see http://mlflow:5000 or a@b.c"
