"""A real browser, where one is installed: started so that it asks nobody for anything."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")

CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

SHOTS = Path(__file__).parents[2] / "test-output"
"""Folder for pictures of pages."""

NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()
