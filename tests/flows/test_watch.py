"""Watch and monitor on a real Prefect server: what starts a run, and what holds it back."""

from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

import flows.notifications.send as send_module
from flows.deployment.crashed_runs import mark_crashed_runs
from flows.deployment.deployments import build_deployment, plan_deployments
from flows.monitor import monitor
from flows.retrain import retrain
from flows.watch import watch
from tests.support.sample_jobs import WAVES, waves, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

BRAKES = {"new_data": "10m", "drift": "1d", "cooldown": 0, "drift_severity": "small"}


@pytest.fixture
def job(home: Path, request: pytest.FixtureRequest) -> Path:
    """A deployed job, whose runs nobody takes."""
    name = f"waves-{abs(hash(request.node.name)) % 10**8}"
    waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES | {"name": name, "triggers": BRAKES})


def deploy(job: Path) -> None:
    build_deployment(next(iter(plan_deployments(job)))).apply()


def started(job: Path) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[job.stem]))
        )


def said(flow, *words: str) -> str:
    return flow(*words, return_state=True).message


def end(run: FlowRun, state) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=True)


def test_new_data_starts_one_run_however_often_one_looks(job: Path) -> None:
    deploy(job)

    first = said(watch, str(job))
    second = said(watch, str(job))
    [run] = started(job)
    end(run, Completed())
    third = said(watch, str(job))

    assert "is started: no run has finished on this source yet" in first
    assert "a run for the same reason is scheduled" in second
    assert "a run for the same reason is completed" in third
    assert {"automatic", "data"} <= set(run.tags)
    assert run.parameters["job_file"] == str(job)


@pytest.mark.slow
def test_what_a_run_has_read_starts_nothing_until_it_changes(job: Path) -> None:
    deploy(job)
    retrain(str(job))

    quiet = said(watch, str(job))
    waves(40, seed=9).write_parquet("waves.parquet")
    loud = said(watch, str(job))

    assert "nothing has changed since the last run" in quiet
    assert "is started: files rewritten: 1" in loud
    assert len(started(job)) == 1


def test_a_run_that_crashed_is_started_again(job: Path) -> None:
    deploy(job)
    said(watch, str(job))
    [run] = started(job)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Crashed(), force=True)

    again = said(watch, str(job))

    assert "is started" in again
    assert len(started(job)) == 2


@pytest.mark.slow
def test_drift_is_told_by_an_event_with_its_reason_and_key(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = []
    monkeypatch.setattr(
        send_module, "emit_job_event", lambda *words, **more: emitted.append((words, more))
    )
    deploy(job)
    before = said(monitor, str(job))
    retrain(str(job))
    calm = said(monitor, str(job))
    louder = pl.read_parquet("waves.parquet").with_columns(
        pl.col("wave").list.eval(pl.element() * 3 + 2)
    )
    louder.write_parquet("waves.parquet")

    drifted = said(monitor, str(job))

    assert "no champion's data" in before
    assert "no drift" in calm
    assert "drift since version 1: wave large" in drifted
    assert "is started: files" in said(watch, str(job)), "the monitor's reading is no run's"
    [((event, name), news)] = emitted[-1:]
    payload = news["facts"]
    assert (event, name) == ("ostinato.drift.detected", job.stem)
    assert payload["reason"] in drifted
    assert payload["key"].startswith("drift-")


@pytest.mark.slow
def test_a_champion_that_got_worse_is_told_by_an_event(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = []
    monkeypatch.setattr(
        send_module, "emit_job_event", lambda *words, **more: emitted.append((words, more))
    )
    waves(300).write_parquet(home / "waves.parquet")
    gate = {"bootstrap_samples": 200, "require_baseline": False}
    job = write_job(home, WAVES | {"gate": gate, "triggers": {"performance": "1d"}})
    before = said(monitor, str(job))
    retrain(str(job))
    calm = said(monitor, str(job))
    swapped = pl.col("label").replace({"kind 0": "kind 1", "kind 1": "kind 0"})
    pl.concat([waves(300), waves(80, seed=9).with_columns(swapped)]).write_parquet("waves.parquet")

    worse = said(monitor, str(job))

    assert "there is no champion" in before
    assert "only 0 new rows have a known target" in calm
    assert "performance of version 1 dropped: macro_f1 from" in worse
    [((event, name), news)] = emitted[-1:]
    payload = news["facts"]
    assert (event, name) == ("ostinato.performance.dropped", "waves")
    assert payload["reason"] in worse
    assert payload["key"].startswith("performance-")


def test_a_reason_from_elsewhere_is_answered_once(job: Path) -> None:
    deploy(job)

    first = said(watch, str(job), "drift since version 1", "drift-1")
    second = said(watch, str(job), "drift since version 1", "drift-1")

    assert "is started: drift since version 1" in first
    assert "a run for the same reason is" in second


def test_what_pages_left_at_work_is_ended_and_nothing_else(job: Path) -> None:
    deploy(job)
    said(watch, str(job))
    [run] = started(job)
    untouched = mark_crashed_runs([job.stem])
    end(run, Running())

    swept = mark_crashed_runs([job.stem])

    assert (untouched, swept) == (0, 1)
    assert started(job)[0].state.is_crashed()
