"""Links to what a run has made, as pages and notifications show them."""

import pytest

from flows.results.mlflow_links import find_mlflow_url, format_version_url


def test_a_link_to_a_version_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s3cret@registry.example")

    pages = find_mlflow_url()

    assert pages == "https://registry.example"
    assert format_version_url(pages, "my model", "3") == f"{pages}/#/models/my%20model/versions/3"
