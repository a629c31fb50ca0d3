"""`ostinato ui` in a real browser: from the form to the champion, as an analyst goes."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.support.browser import NEEDED, open_browser
from tests.support.browser import SHOTS as ALL_SHOTS
from tests.support.sample_jobs import Pages, ostinato, send, waves

SHOTS = ALL_SHOTS / "ui"

pytestmark = [
    pytest.mark.slow,
    NEEDED,
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_context(viewport={"width": 1200, "height": 1500}).new_page()
    opened.set_default_timeout(40_000)
    yield opened
    opened.context.close()


def open_form(page: Page, pages: Pages, flow: str = "retrain", field: str = "epochs") -> None:
    """Open the form of a deployment, as the list of deployments leads to it."""
    page.goto(f"{pages.prefect}/v2/deployments?flowOrDeploymentName=waves")
    page.get_by_role("link", name="waves", exact=True).first.wait_for()
    asked = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": ["waves"]}}}
    [found] = send(f"{pages.prefect}/api/deployments/filter", asked)
    page.goto(f"{pages.prefect}/v2/deployments/deployment/{found['id']}/run")
    page.get_by_label(field).wait_for()


def submit(page: Page, pages: Pages) -> dict[str, Any]:
    """Start the run that the form asks for, and see it come to its end."""
    with page.expect_response(lambda answer: "create_flow_run" in answer.url) as made:
        page.get_by_role("button", name="Submit").click()
    run = made.value.json()
    page.goto(f"{pages.prefect}/v2/runs/flow-run/{run['id']}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=200_000)
    return run


def open_artifact(page: Page, pages: Pages, run: dict[str, Any], key: str) -> None:
    """Open what a run has left under this key."""
    mine = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    found = {a["key"]: a["id"] for a in send(f"{pages.prefect}/api/artifacts/filter", mine)}
    page.goto(f"{pages.prefect}/v2/artifacts/artifact/{found[key]}")


def shoot(page: Page, name: str, *, after: str | None = None) -> str:
    """Keep a picture of the page, once it shows these words; give all that it shows."""
    if after:
        page.get_by_text(after).filter(visible=True).first.wait_for()
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
    told = shoot(page, "refused", after="does not match")

    assert page.url.endswith("/run")
    assert "does not match" in told
    assert 201 not in made


@pytest.mark.timeout(600)
def test_from_the_form_to_the_champion(pages: Pages, page: Page) -> None:
    open_form(page, pages)
    form = shoot(page, "form")
    page.get_by_label("preset").click()
    page.get_by_role("option", name="quick").click()
    page.get_by_label("epochs").fill("12")
    page.get_by_label("seed").fill("11")
    shoot(page, "form-filled")

    run = submit(page, pages)

    shoot(page, "run")
    page.get_by_role("tab", name="Artifacts").click()
    shoot(page, "artifacts", after="waves-result")
    open_artifact(page, pages, run, "waves-result")
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
    assert (run["parameters"]["preset"], run["parameters"]["epochs"]) == ("quick", 12)
    assert "on the test rows" in result
    assert "macro_f1" in result
    assert "learning_curve.png" in curves or "validation_loss" in curves
    assert "challenger" in version
    assert "champion" in model


def promoted(pages: Pages, seed: str) -> str:
    """Train a version, and let it serve whatever the gate said."""
    run = ostinato(pages.folder, "run", "waves.yaml", "--set", f"training.seed={seed}", "--json")
    number = str(json.loads(run.stdout.splitlines()[-1])["version"])
    ostinato(pages.folder, "promote", "waves", number, "--why", "to be looked at")
    return number


def versions_with(page: Page, alias: str) -> list[str]:
    """Tell which versions carry an alias, as the model's page in MLflow shows it."""
    rows = page.get_by_role("row").filter(has_text=f"@ {alias}")
    rows.first.wait_for()
    links = [row.get_by_role("link").first.get_attribute("href") for row in rows.all()]
    return [str(link).rpartition("/")[2] for link in links]


@pytest.mark.timeout(600)
def test_a_rollback_is_asked_for_in_the_form_and_seen_in_mlflow(pages: Pages, page: Page) -> None:
    before, newest = (promoted(pages, seed) for seed in ("41", "42"))

    page.goto(f"{pages.mlflow}/#/models/waves")
    shoot(page, "mlflow-before-rollback", after="previous")
    serving = versions_with(page, "champion")
    open_form(page, pages, "rollback", "why")
    page.get_by_label("why").fill("it alarmed at night")
    form = shoot(page, "rollback-form")
    run = submit(page, pages)
    shoot(page, "rollback-run")
    open_artifact(page, pages, run, "waves-rollback")
    told = shoot(page, "rollback-artifact", after="it alarmed at night")
    page.goto(f"{pages.mlflow}/#/models/waves")
    page.reload()
    shoot(page, "mlflow-after-rollback", after="champion")

    assert 'Property is type "None"' not in form
    assert serving == [newest]
    assert versions_with(page, "champion") == [before]
    assert "rollback" in told


@pytest.mark.timeout(600)
def test_answers_are_asked_for_in_the_form_and_shown(pages: Pages, page: Page) -> None:
    number = promoted(pages, "42")
    waves(40, seed=5).drop("label").write_parquet(pages.folder / "new.parquet")
    open_form(page, pages, "score", "source")

    page.get_by_label("source").fill("new.parquet")
    form = shoot(page, "score-form")
    run = submit(page, pages)
    open_artifact(page, pages, run, "waves-scores")
    told = shoot(page, "score-artifact", after="The first predictions")
    page.get_by_role("link", name=number, exact=True).first.click()
    version = shoot(page, "score-version", after="champion")

    assert "as in the job's source.uri" in form
    assert run["parameters"]["source"] == "new.parquet"
    assert "40 rows scored" in told
    assert "waves" in version
