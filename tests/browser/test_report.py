"""The report in a real browser: light, dark, on a phone; nothing is loaded and nothing is said."""

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
from tests.support.browser import NEEDED, open_browser
from tests.support.browser import SHOTS as ALL_SHOTS
from tests.support.sample_jobs import WAVES, waves, write_job

SHOTS = ALL_SHOTS / "report"

pytestmark = NEEDED


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a real run over waves, stage by stage."""
    home = tmp_path_factory.mktemp("report")
    waves(300).write_parquet(home / "waves.parquet")
    source = {"uri": str(home / "waves.parquet")}
    kept = {"uri": str(home / "store"), "cache": str(home / "cache")}
    job = load_job(write_job(home, WAVES | {"source": source, "store": kept}))
    store = open_store(job.store)
    snapshot = take_snapshot(job.source, store)
    rules = draft_contract(
        open_snapshot(store, snapshot).scan(),
        name=job.name,
        required_columns=tuple(job.required_columns),
        target=job.target.required,
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
    made = make_report(
        candidate,
        features=features,
        accepted=accepted,
        champion=None,
        champion_dir=None,
        gate=job.gate,
        evaluation=job.evaluation,
        store=store,
    )
    return local_dir(store, made) / "report.html"


def opened_page(browser: Browser, path: Path, said: list[str], **looks: object) -> Page:
    """Open a report, and note all that it says and asks for."""
    page = browser.new_context(**looks).new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: note(asked.url, path, said))
    page.goto(path.as_uri())
    return page


def note(url: str, path: Path, said: list[str]) -> None:
    if url != path.as_uri() and not url.startswith("data:"):
        said.append(url)


def brightness(page: Page) -> float:
    """Mean of the colours behind the text."""
    told = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(int(part) for part in told.strip("rgb()").split(",")[:3]) / 3


def test_the_report_of_a_run_looks_right_and_asks_for_nothing(
    report: Path, browser: Browser
) -> None:
    said: list[str] = []
    SHOTS.mkdir(parents=True, exist_ok=True)

    for scheme in ("light", "dark"):
        size = {"width": 1200, "height": 900}
        page = opened_page(browser, report, said, color_scheme=scheme, viewport=size)
        page.screenshot(path=SHOTS / f"{scheme}.png", full_page=True)

        assert (brightness(page) > 128) == (scheme == "light")
        assert page.locator("h1").inner_text() == "waves"
        assert page.locator("section").count() >= 8
        assert page.locator("#explanations svg").count() > 3
        assert page.locator("#scores svg.chart circle").count() >= 3
        for link in page.locator("nav a").all():
            assert page.locator(link.get_attribute("href")).count() == 1
        page.context.close()

    assert said == []
    assert report.stat().st_size < 2_000_000


def test_the_report_fits_a_phone_and_paper(report: Path, browser: Browser) -> None:
    said: list[str] = []
    SHOTS.mkdir(parents=True, exist_ok=True)

    page = opened_page(browser, report, said, viewport={"width": 390, "height": 800})
    page.screenshot(path=SHOTS / "phone.png", full_page=True)
    paper = page.pdf(path=SHOTS / "paper.pdf", format="A4")

    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert len(paper) > 10_000
    assert said == []
