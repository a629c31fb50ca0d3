"""Deployments: one plan for `ui`, for `deploy` and for deployments/prefect.yaml."""

import json
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from click.testing import CliRunner
from prefect.client.orchestration import get_client
from prefect.deployments import run_deployment
from prefect.settings import PREFECT_API_URL

from flows.cli.main import main
from flows.deployment.deploy import deploy
from flows.deployment.deployments import build_deployment, format_prefect_file, plan_deployments
from flows.retrain import retrain
from tests.support.sample_jobs import WAVES, build_environment, make_waves, write_job

ROOT = Path(__file__).parents[3]
FILE = Path("deployments/prefect.yaml")

BUSY = WAVES | {
    "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Vienna"},
    "triggers": {"new_data": "10m", "drift": "1d", "performance": "12h"},
    "score": {"schedule": {"cron": "30 4 * * *"}},
}


def test_the_prefect_file_matches_the_example_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    jobs = sorted(Path("deployments/jobs").glob("*.yaml"))

    expected = format_prefect_file(jobs, output=FILE)

    assert FILE.read_text(encoding="utf-8") == expected, "run: ostinato deploy --write"
    entries = yaml.safe_load(expected)["deployments"]
    names = {entry["name"].removesuffix("-drift").removesuffix("-performance") for entry in entries}
    assert names == {path.stem for path in jobs}
    assert all(entry["concurrency_limit"]["limit"] == 1 for entry in entries)
    files = [
        parameters["job_file"]
        for entry in entries
        if "job_file" in (parameters := entry["parameters"])
    ]
    assert all(Path(file).exists() for file in files)


def test_a_job_without_triggers_is_retrained_scored_tuned_and_rolled_back(tmp_path: Path) -> None:
    plans = list(plan_deployments(write_job(tmp_path, WAVES)))

    assert [plan.flow for plan in plans] == ["retrain", "score", "tune", "rollback"]


def test_deployments_have_their_schedules_limits_and_automations(tmp_path: Path) -> None:
    plans = plan_deployments(write_job(tmp_path, BUSY))

    result = {f"{plan.flow}/{plan.name}": build_deployment(plan) for plan in plans}

    flows = ["retrain", "score", "tune", "rollback", "watch", "monitor"]
    assert set(result) == {f"{flow}/waves" for flow in flows} | {
        "watch/waves-drift", "watch/waves-performance",
    }  # fmt: skip
    assert result["rollback/waves"].parameters == {"name": "waves"}
    assert result["retrain/waves"].schedules[0].schedule.timezone == "Europe/Vienna"
    assert result["score/waves"].schedules[0].schedule.cron == "30 4 * * *"
    assert result["watch/waves"].schedules[0].schedule.interval.total_seconds() == 600
    assert all(each.concurrency_limit == 1 for each in result.values())
    assert result["monitor/waves"].concurrency_options.collision_strategy == "CANCEL_NEW"
    assert result["monitor/waves"].schedules[0].schedule.interval.total_seconds() == 12 * 3600
    [performance_trigger] = result["watch/waves-performance"].triggers
    assert performance_trigger.expect == {"ostinato.performance.dropped"}
    [trigger] = result["watch/waves-drift"].triggers
    assert trigger.expect == {"ostinato.drift.detected"}
    assert trigger.match.root == {"prefect.resource.id": "ostinato.job.waves"}
    assert result["retrain/waves"].triggers == []


def test_deploying_without_a_server_is_rejected(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    path = write_job(home, WAVES)

    done = CliRunner().invoke(main, ["deploy", str(path)])

    assert done.exit_code == 2
    assert "PREFECT_API_URL" in done.output


@pytest.mark.usefixtures("prefect_server")
def test_deploying_twice_gives_each_flow_one_deployment_in_the_pool(home: Path) -> None:
    path = write_job(home, BUSY | {"name": "busy"}).relative_to(home)

    first, second = deploy([path], "machines"), deploy([path], "machines")

    assert first == second
    assert first[0] == "retrain/busy"
    with get_client(sync_client=True) as client:
        pool = client.read_work_pool("machines")
        result = [client.read_deployment_by_name(name) for name in first]
        automations = client.read_automations_by_name("busy: ostinato.drift.detected")
    assert pool.type == "process"
    assert {each.work_pool_name for each in result} == {"machines"}
    assert {each.job_variables["working_dir"] for each in result} == {str(home)}
    parameters = {name: each.parameters for name, each in zip(first, result, strict=True)}
    assert parameters.pop("rollback/busy") == {"name": "busy"}
    assert list(parameters.values()) == [{"job_file": "busy.yaml"}] * 7
    assert len(automations) == 1


def test_a_file_with_the_users_own_jobs_can_be_written(home: Path) -> None:
    path = write_job(home, BUSY).relative_to(home)

    done = CliRunner().invoke(
        main, ["deploy", str(path), "--write", "prefect.yaml", "--pool", "gpu"]
    )

    assert done.exit_code == 0, done.output
    entries = yaml.safe_load(Path("prefect.yaml").read_text())["deployments"]
    assert [entry["entrypoint"].rpartition(".")[2] for entry in entries] == [
        "retrain", "score", "tune", "rollback", "watch", "watch", "watch", "monitor",
    ]  # fmt: skip
    assert {entry["work_pool"]["name"] for entry in entries} == {"gpu"}
    assert str(home) not in json.dumps(entries)


def run_worker(pool: str, server: str) -> None:
    """Run a worker without other settings until it has executed the waiting runs."""
    subprocess.run(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--run-once"],
        env=build_environment() | {"PREFECT_API_URL": server},
        check=True,
        timeout=240,
    )


def request_run(name: str) -> UUID:
    return run_deployment(name, timeout=0, as_subflow=False).id


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_worker_executes_the_runs_with_one_registry(home: Path) -> None:
    gate = {"bootstrap_samples": 200, "require_baseline": False}
    make_waves(120).write_parquet(home / "waves.parquet")
    path = write_job(home, WAVES | {"gate": gate}).relative_to(home)
    retrain(str(path))
    deploy([path], "crew")
    scored, rolled_back = request_run("score/waves"), request_run("rollback/waves")

    run_worker("crew", str(PREFECT_API_URL.value()))

    with get_client(sync_client=True) as client:
        result, rejected = (client.read_flow_run(each).state for each in (scored, rolled_back))
    assert result.is_completed(), result
    assert list((home / ".ostinato/store/scores/waves").glob("v1-*/part-00000.parquet"))
    assert "none served before version 1" in str(rejected.message)
