"""`ostinato ui` in a real browser: from the form to the champion, as an analyst goes."""

import json
import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from samples import Pages

NAMES = ("chromium", "chromium-browser", "google-chrome")

CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)

QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip

SHOTS = Path(__file__).parents[2] / "test-output" / "ui"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_context(viewport={"width": 1200, "height": 1500}).new_page()
    opened.set_default_timeout(40_000)
    yield opened
    opened.context.close()


def ask(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def open_form(page: Page, pages: Pages) -> None:
    """Open the form of the retrain deployment, as the list of deployments leads to it."""
    page.goto(f"{pages.prefect}/v2/deployments")
    page.get_by_role("link", name="waves", exact=True).first.wait_for()
    asked = {"flows": {"name": {"any_": ["retrain"]}}}
    [found] = ask(f"{pages.prefect}/api/deployments/filter", asked)
    page.goto(f"{pages.prefect}/v2/deployments/deployment/{found['id']}/run")
    page.get_by_label("epochs").wait_for()


def shoot(page: Page, name: str, *, after: str | None = None) -> str:
    """Keep a picture of the page, once it shows these words; give all that it shows."""
    if after:
        page.get_by_text(after).first.wait_for()
    page.wait_for_timeout(1500)
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")
    return page.inner_text("body")


def test_a_wrong_value_never_becomes_a_run(pages: Pages, page: Page) -> None:
    made: list[int] = []
    page.on("response", lambda got: made.append(got.status) if "create_flow" in got.url else None)
    open_form(page, pages)

    page.get_by_label("budget").fill("ten minutes")
    page.get_by_role("button", name="Submit").click()
    told = shoot(page, "refused")

    assert page.url.endswith("/run")
    assert "does not match" in told
    assert 201 not in made


@pytest.mark.timeout(600)
def test_from_the_form_to_the_champion(pages: Pages, page: Page) -> None:
    open_form(page, pages)
    form = shoot(page, "form")
    page.get_by_label("preset").click()
    page.get_by_role("option", name="quick").click()
    page.get_by_label("epochs").fill("6")
    page.get_by_label("seed").fill("11")
    shoot(page, "form-filled")
    with page.expect_response(lambda answer: "create_flow_run" in answer.url) as made:
        page.get_by_role("button", name="Submit").click()
    run = made.value.json()

    page.goto(f"{pages.prefect}/v2/runs/flow-run/{run['id']}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=200_000)
    shoot(page, "run")
    page.get_by_role("tab", name="Artifacts").click()
    shoot(page, "artifacts", after="waves-result")
    mine = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    found = {a["key"]: a["id"] for a in ask(f"{pages.prefect}/api/artifacts/filter", mine)}
    page.goto(f"{pages.prefect}/v2/artifacts/artifact/{found['waves-result']}")
    result = shoot(page, "result", after="model version")
    links = {link.inner_text(): link.get_attribute("href") for link in page.locator("a").all()}

    page.goto(links["run"])
    curves = shoot(page, "mlflow-run", after="test_accuracy")
    page.goto(links["report"])
    shoot(page, "mlflow-report", after="report.html")
    page.goto(links["model version"])
    version = shoot(page, "mlflow-version", after="champion")
    page.goto(f"{pages.mlflow}/#/models/waves")
    model = shoot(page, "mlflow-model", after="champion")

    assert "Upper bound on passes over the training rows" in form
    assert (run["parameters"]["preset"], run["parameters"]["epochs"]) == ("quick", 6)
    assert "on the test rows" in result
    assert "macro_f1" in result
    assert "learning_curve.png" in curves or "validation_loss" in curves
    assert "challenger" in version
    assert "champion" in model
