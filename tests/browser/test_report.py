"""The report in a real browser: light, dark, on a phone; no request and no console message."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from data_contracts.draft import draft_contract
from flows.job.job import load_job
from models.learning.loop import Callbacks
from tasks.dataset.rowset import open_snapshot
from tasks.evaluation.evaluate import make_report
from tasks.features.featurize import make_features
from tasks.ingestion.ingest import take_snapshot
from tasks.storage.artifacts import local_dir
from tasks.storage.store import open_store
from tasks.training.train import make_candidate
from tasks.validation.validate import accept_snapshot
from tests.support.browser import NEEDS_BROWSER, SCREENSHOT_DIR, open_browser
from tests.support.sample_jobs import WAVES, make_waves, write_job

REPORT_DIR = SCREENSHOT_DIR / "report"

pytestmark = NEEDS_BROWSER


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the stages over waves, and return the path of the report's page."""
    home = tmp_path_factory.mktemp("report")
    make_waves(300).write_parquet(home / "waves.parquet")
    source = {"uri": str(home / "waves.parquet")}
    store_config = {"uri": str(home / "store"), "cache": str(home / "cache")}
    job = load_job(write_job(home, WAVES | {"source": source, "store": store_config}))
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store)
    rules = draft_contract(
        open_snapshot(store, snapshot).scan(),
        name=job.name,
        required_columns=tuple(job.required_columns),
        target=job.target.required_column,
    )
    accepted = accept_snapshot(snapshot, rules, store)
    features = make_features(accepted, store, layout=job.layout, target=job.target, split=job.split)
    candidate = make_candidate(
        features,
        store,
        model=job.model,
        head=job.head,
        training=job.training,
        callbacks=Callbacks(lambda _: None),
    )
    report_artifact = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=None,
        gate=job.gate,
        evaluation=job.evaluation,
        store=store,
    )
    return local_dir(store, report_artifact) / "report.html"


def open_page(browser: Browser, path: Path, messages: list[str], **context: object) -> Page:
    """Open a report, and record its console messages, errors and requests."""
    page = browser.new_context(**context).new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: record_request(request.url, path, messages))
    page.goto(path.as_uri())
    return page


def record_request(url: str, path: Path, messages: list[str]) -> None:
    if url != path.as_uri() and not url.startswith("data:"):
        messages.append(url)


def measure_brightness(page: Page) -> float:
    """Return the mean of the background's red, green and blue (0 to 255)."""
    color = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in color.strip("rgb()").split(",")[:3]) / 3


def test_the_report_of_a_run_has_its_sections_and_requests_nothing(
    report: Path, browser: Browser
) -> None:
    messages: list[str] = []
    REPORT_DIR.mkdir(parents=True, exist_ok=True)

    for scheme in ("light", "dark"):
        size = {"width": 1200, "height": 900}
        page = open_page(browser, report, messages, color_scheme=scheme, viewport=size)
        page.screenshot(path=REPORT_DIR / f"{scheme}.png", full_page=True)

        assert (measure_brightness(page) > 128) == (scheme == "light")
        assert page.locator("h1").inner_text() == "waves"
        assert page.locator("section").count() >= 8
        assert page.locator("#explanations svg").count() > 3
        assert page.locator("#scores svg.chart circle").count() >= 3
        for link in page.locator("nav a").all():
            assert page.locator(link.get_attribute("href")).count() == 1
        page.context.close()

    assert messages == []
    assert report.stat().st_size < 2_000_000


def test_the_report_fits_a_phone_and_paper(report: Path, browser: Browser) -> None:
    messages: list[str] = []
    REPORT_DIR.mkdir(parents=True, exist_ok=True)

    page = open_page(browser, report, messages, viewport={"width": 390, "height": 800})
    page.screenshot(path=REPORT_DIR / "phone.png", full_page=True)
    paper = page.pdf(path=REPORT_DIR / "paper.pdf", format="A4")

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert len(paper) > 10_000
    assert messages == []
