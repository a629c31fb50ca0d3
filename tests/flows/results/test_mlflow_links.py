"""Links to what a run has made, as pages and notifications show them."""

import pytest

from flows.results.mlflow_links import mlflow_pages, version_page


def test_a_link_to_a_version_shows_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:s3cret@registry.example")

    pages = mlflow_pages()

    assert pages == "https://registry.example"
    assert version_page(pages, "my model", "3") == f"{pages}/#/models/my%20model/versions/3"
