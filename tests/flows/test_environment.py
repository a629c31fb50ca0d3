"""The environment of Prefect and MLflow belongs to one folder."""

import json
import os
from pathlib import Path

from flows.environment import UI_FILE, read_ui_addresses


def test_a_copied_folder_does_not_use_the_servers_of_the_original(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    for folder in (original, copy):
        folder.mkdir()
        content = {"pid": os.getpid(), "folder": str(original), "PREFECT_API_URL": "http://x/api"}
        (folder / UI_FILE).write_text(json.dumps(content), encoding="utf-8")

    assert read_ui_addresses(original) == {"PREFECT_API_URL": "http://x/api"}
    assert read_ui_addresses(copy) == {}
