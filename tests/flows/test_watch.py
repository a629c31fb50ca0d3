"""Watch and monitor on a real Prefect server: what starts a run, and what prevents one."""

from pathlib import Path

import polars as pl
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Crashed, Running

import flows.notifications.send as send_module
from flows.deployment.deployments import build_deployment, plan_deployments
from flows.deployment.serve import mark_crashed_runs
from flows.monitor import monitor
from flows.retrain import retrain
from flows.watch import watch
from tests.support.sample_jobs import WAVES, make_waves, write_job

pytestmark = pytest.mark.usefixtures("prefect_server")

TRIGGERS = {"new_data": "10m", "drift": "1d", "cooldown": 0, "drift_severity": "small"}


@pytest.fixture
def job(home: Path, request: pytest.FixtureRequest) -> Path:
    """A job whose deployed runs no worker executes."""
    name = f"waves-{abs(hash(request.node.name)) % 10**8}"
    make_waves(300).write_parquet(home / "waves.parquet")
    return write_job(home, WAVES | {"name": name, "triggers": TRIGGERS})


def deploy(job: Path) -> None:
    build_deployment(next(iter(plan_deployments(job)))).apply()


def list_runs(job: Path) -> list[FlowRun]:
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[job.stem]))
        )


def run_flow(flow, *arguments: str) -> str:
    return flow(*arguments, return_state=True).message


def end(run: FlowRun, state) -> None:
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, state, force=True)


def test_new_data_starts_one_run_at_any_number_of_checks(job: Path) -> None:
    deploy(job)

    first = run_flow(watch, str(job))
    second = run_flow(watch, str(job))
    [run] = list_runs(job)
    end(run, Completed())
    third = run_flow(watch, str(job))

    assert "is started: no run has finished on this source yet" in first
    assert "a run for the same reason is scheduled" in second
    assert "a run for the same reason is completed" in third
    assert {"automatic", "data"} <= set(run.tags)
    assert run.parameters["job_file"] == str(job)


@pytest.mark.slow
def test_data_that_a_run_has_read_starts_nothing_until_it_changes(job: Path) -> None:
    deploy(job)
    retrain(str(job))

    unchanged = run_flow(watch, str(job))
    make_waves(40, seed=9).write_parquet("waves.parquet")
    rewritten = run_flow(watch, str(job))

    assert "nothing has changed since the last run" in unchanged
    assert "is started: files rewritten: 1" in rewritten
    assert len(list_runs(job)) == 1


def test_a_run_that_crashed_is_started_again(job: Path) -> None:
    deploy(job)
    run_flow(watch, str(job))
    [run] = list_runs(job)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run.id, Crashed(), force=True)

    again = run_flow(watch, str(job))

    assert "is started" in again
    assert len(list_runs(job)) == 2


@pytest.mark.slow
def test_drift_emits_an_event_with_its_reason_and_key(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = []
    monkeypatch.setattr(
        send_module,
        "emit_job_event",
        lambda *arguments, **options: emitted.append((arguments, options)),
    )
    deploy(job)
    before = run_flow(monitor, str(job))
    retrain(str(job))
    unchanged = run_flow(monitor, str(job))
    shifted = pl.read_parquet("waves.parquet").with_columns(
        pl.col("wave").list.eval(pl.element() * 3 + 2)
    )
    shifted.write_parquet("waves.parquet")

    drifted = run_flow(monitor, str(job))

    assert "no champion's data" in before
    assert "no drift" in unchanged
    assert "drift since version 1: wave large" in drifted
    assert "is started: files" in run_flow(watch, str(job)), (
        "a snapshot of the monitor does not count as read by a run"
    )
    [((event, name), event_fields)] = emitted[-1:]
    payload = event_fields["facts"]
    assert (event, name) == ("ostinato.drift.detected", job.stem)
    assert payload["reason"] in drifted
    assert payload["key"].startswith("drift-")


@pytest.mark.slow
def test_a_performance_drop_of_the_champion_emits_an_event(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    emitted = []
    monkeypatch.setattr(
        send_module,
        "emit_job_event",
        lambda *arguments, **options: emitted.append((arguments, options)),
    )
    make_waves(300).write_parquet(home / "waves.parquet")
    gate = {"bootstrap_samples": 200, "require_baseline": False}
    job = write_job(home, WAVES | {"gate": gate, "triggers": {"performance": "1d"}})
    before = run_flow(monitor, str(job))
    retrain(str(job))
    unchanged = run_flow(monitor, str(job))
    swapped = pl.col("label").replace({"kind 0": "kind 1", "kind 1": "kind 0"})
    pl.concat([make_waves(300), make_waves(80, seed=9).with_columns(swapped)]).write_parquet(
        "waves.parquet"
    )

    worse = run_flow(monitor, str(job))

    assert "there is no champion" in before
    assert "only 0 new rows have a known target" in unchanged
    assert "performance of version 1 dropped: macro_f1 from" in worse
    [((event, name), event_fields)] = emitted[-1:]
    payload = event_fields["facts"]
    assert (event, name) == ("ostinato.performance.dropped", "waves")
    assert payload["reason"] in worse
    assert payload["key"].startswith("performance-")


def test_an_external_trigger_starts_one_run(job: Path) -> None:
    deploy(job)

    first = run_flow(watch, str(job), "drift since version 1", "drift-1")
    second = run_flow(watch, str(job), "drift since version 1", "drift-1")

    assert "is started: drift since version 1" in first
    assert "a run for the same reason is" in second


def test_only_processes_left_by_the_ui_are_ended(job: Path) -> None:
    deploy(job)
    run_flow(watch, str(job))
    [run] = list_runs(job)
    untouched = mark_crashed_runs([job.stem])
    end(run, Running())

    crashed = mark_crashed_runs([job.stem])

    assert (untouched, crashed) == (0, 1)
    assert list_runs(job)[0].state.is_crashed()
