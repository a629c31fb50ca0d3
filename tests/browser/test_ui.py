"""`ostinato ui` in a real browser: from the form to the champion."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Response

from tests.support.browser import NEEDS_BROWSER, SCREENSHOT_DIR, open_browser
from tests.support.sample_jobs import Pages, make_waves, run_ostinato, send_json

UI_DIR = SCREENSHOT_DIR / "ui"

pytestmark = [pytest.mark.slow, NEEDS_BROWSER]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_context(viewport={"width": 1200, "height": 1500}).new_page()
    opened.set_default_timeout(40_000)
    yield opened
    opened.context.close()


def open_form(page: Page, pages: Pages, flow: str = "retrain", field: str = "epochs") -> None:
    """Open the form of a deployment, starting from the list of deployments."""
    page.goto(f"{pages.prefect}/v2/deployments?flowOrDeploymentName=waves")
    page.get_by_role("link", name="waves", exact=True).first.wait_for()
    query = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": ["waves"]}}}
    [deployment] = send_json(f"{pages.prefect}/api/deployments/filter", query)
    page.goto(f"{pages.prefect}/v2/deployments/deployment/{deployment['id']}/run")
    page.get_by_label(field).wait_for()


def submit(page: Page, pages: Pages) -> dict[str, Any]:
    """Submit the form, wait until its run has completed, and return the run."""
    with page.expect_response(lambda response: "create_flow_run" in response.url) as created:
        page.get_by_role("button", name="Submit").click()
    run = created.value.json()
    page.goto(f"{pages.prefect}/v2/runs/flow-run/{run['id']}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=200_000)
    return run


def open_artifact(page: Page, pages: Pages, run: dict[str, Any], key: str) -> None:
    """Open the run's artifact with this key."""
    query = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    ids = {
        artifact["key"]: artifact["id"]
        for artifact in send_json(f"{pages.prefect}/api/artifacts/filter", query)
    }
    page.goto(f"{pages.prefect}/v2/artifacts/artifact/{ids[key]}")


def take_screenshot(page: Page, name: str, *, after: str | None = None) -> str:
    """Save a screenshot of the page once it shows the text `after`, and return its text."""
    if after:
        page.get_by_text(after).filter(visible=True).first.wait_for()
    page.wait_for_timeout(1500)
    UI_DIR.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=UI_DIR / f"{name}.png")
    return page.inner_text("body")


def record_status(response: Response, statuses: list[int]) -> None:
    if "create_flow" in response.url:
        statuses.append(response.status)


def test_a_wrong_value_does_not_start_a_run(pages: Pages, page: Page) -> None:
    statuses: list[int] = []
    page.on("response", lambda response: record_status(response, statuses))
    open_form(page, pages)

    page.get_by_label("budget").fill("ten minutes")
    page.get_by_role("button", name="Submit").click()
    text = take_screenshot(page, "refused", after="does not match")

    assert page.url.endswith("/run")
    assert "does not match" in text
    assert 201 not in statuses


@pytest.mark.timeout(600)
def test_a_run_started_in_the_form_becomes_the_champion(pages: Pages, page: Page) -> None:
    open_form(page, pages)
    form = take_screenshot(page, "form")
    page.get_by_label("preset").click()
    page.get_by_role("option", name="quick").click()
    page.get_by_label("epochs").fill("12")
    page.get_by_label("seed").fill("11")
    take_screenshot(page, "form-filled")

    run = submit(page, pages)

    take_screenshot(page, "run")
    page.get_by_role("tab", name="Artifacts").click()
    take_screenshot(page, "artifacts", after="waves-result")
    open_artifact(page, pages, run, "waves-result")
    result = take_screenshot(page, "result", after="model version")
    links = {link.inner_text(): link.get_attribute("href") for link in page.locator("a").all()}

    page.goto(links["run"])
    curves = take_screenshot(page, "mlflow-run", after="test_accuracy")
    page.goto(links["report"])
    take_screenshot(page, "mlflow-report", after="report.html")
    page.goto(links["model version"])
    version = take_screenshot(page, "mlflow-version", after="champion")
    page.goto(f"{pages.mlflow}/#/models/waves")
    model = take_screenshot(page, "mlflow-model", after="champion")

    assert "Upper bound on passes over the training rows" in form
    assert (run["parameters"]["preset"], run["parameters"]["epochs"]) == ("quick", 12)
    assert re.search(r"on \d+ test rows", result)
    assert "macro_f1" in result
    assert "learning_curve.svg" in curves or "validation_loss" in curves
    assert "challenger" in version
    assert "champion" in model


def promote_version(pages: Pages, seed: str) -> str:
    """Train a version, and promote it whatever the gate decided."""
    run = run_ostinato(
        pages.folder, "run", "waves.yaml", "--set", f"training.seed={seed}", "--json"
    )
    number = str(json.loads(run.stdout.splitlines()[-1])["version"])
    run_ostinato(pages.folder, "promote", "waves", number, "--why", "needed by a test")
    return number


def list_versions_with(page: Page, alias: str) -> list[str]:
    """Return the versions with an alias, as the model's page in MLflow shows them."""
    rows = page.get_by_role("row").filter(has_text=f"@ {alias}")
    rows.first.wait_for()
    links = [row.get_by_role("link").first.get_attribute("href") for row in rows.all()]
    return [str(link).rpartition("/")[2] for link in links]


@pytest.mark.timeout(600)
def test_a_rollback_submitted_in_the_form_is_visible_in_mlflow(pages: Pages, page: Page) -> None:
    before, newest = (promote_version(pages, seed) for seed in ("41", "42"))

    page.goto(f"{pages.mlflow}/#/models/waves")
    take_screenshot(page, "mlflow-before-rollback", after="previous")
    serving = list_versions_with(page, "champion")
    open_form(page, pages, "rollback", "why")
    page.get_by_label("why").fill("it alarmed at night")
    form = take_screenshot(page, "rollback-form")
    run = submit(page, pages)
    take_screenshot(page, "rollback-run")
    open_artifact(page, pages, run, "waves-rollback")
    text = take_screenshot(page, "rollback-artifact", after="it alarmed at night")
    page.goto(f"{pages.mlflow}/#/models/waves")
    page.reload()
    take_screenshot(page, "mlflow-after-rollback", after="champion")

    assert 'Property is type "None"' not in form
    assert serving == [newest]
    assert list_versions_with(page, "champion") == [before]
    assert "rollback" in text


@pytest.mark.timeout(600)
def test_scoring_submitted_in_the_form_shows_its_predictions(pages: Pages, page: Page) -> None:
    number = promote_version(pages, "42")
    make_waves(40, seed=5).drop("label").write_parquet(pages.folder / "new.parquet")
    open_form(page, pages, "score", "source")

    page.get_by_label("source").fill("new.parquet")
    form = take_screenshot(page, "score-form")
    run = submit(page, pages)
    open_artifact(page, pages, run, "waves-scores")
    text = take_screenshot(page, "score-artifact", after="The first predictions")
    page.get_by_role("link", name=number, exact=True).first.click()
    version = take_screenshot(page, "score-version", after="champion")

    assert "as in the job's source.uri" in form
    assert run["parameters"]["source"] == "new.parquet"
    assert "40 rows scored" in text
    assert "waves" in version
