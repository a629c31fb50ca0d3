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
from tests.support.sample_jobs import WAVES, environment, waves, write_job

ROOT = Path(__file__).parents[3]
FILE = Path("deployments/prefect.yaml")

BUSY = WAVES | {
    "schedule": {"cron": "0 3 * * *", "timezone": "Europe/Vienna"},
    "triggers": {"new_data": "10m", "drift": "1d", "performance": "12h"},
    "score": {"schedule": {"cron": "30 4 * * *"}},
}


def test_the_prefect_file_is_what_the_example_jobs_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    jobs = sorted(Path("deployments/jobs").glob("*.yaml"))

    expected = format_prefect_file(jobs, output=FILE)

    assert FILE.read_text(encoding="utf-8") == expected, "run: ostinato deploy --write"
    entries = yaml.safe_load(expected)["deployments"]
    names = {entry["name"].removesuffix("-drift").removesuffix("-performance") for entry in entries}
    assert names == {path.stem for path in jobs}
    assert all(entry["concurrency_limit"]["limit"] == 1 for entry in entries)
    files = [told["job_file"] for entry in entries if "job_file" in (told := entry["parameters"])]
    assert all(Path(file).exists() for file in files)


def test_a_job_without_triggers_is_retrained_scored_tuned_and_rolled_back(tmp_path: Path) -> None:
    plans = list(plan_deployments(write_job(tmp_path, WAVES)))

    assert [plan.flow for plan in plans] == ["retrain", "score", "tune", "rollback"]


def test_what_is_served_has_its_schedules_limits_and_automation(tmp_path: Path) -> None:
    plans = plan_deployments(write_job(tmp_path, BUSY))

    found = {f"{plan.flow}/{plan.name}": build_deployment(plan) for plan in plans}

    flows = ["retrain", "score", "tune", "rollback", "watch", "monitor"]
    assert set(found) == {f"{flow}/waves" for flow in flows} | {
        "watch/waves-drift", "watch/waves-performance",
    }  # fmt: skip
    assert found["rollback/waves"].parameters == {"name": "waves"}
    assert found["retrain/waves"].schedules[0].schedule.timezone == "Europe/Vienna"
    assert found["score/waves"].schedules[0].schedule.cron == "30 4 * * *"
    assert found["watch/waves"].schedules[0].schedule.interval.total_seconds() == 600
    assert all(each.concurrency_limit == 1 for each in found.values())
    assert found["monitor/waves"].concurrency_options.collision_strategy == "CANCEL_NEW"
    assert found["monitor/waves"].schedules[0].schedule.interval.total_seconds() == 12 * 3600
    [fallen] = found["watch/waves-performance"].triggers
    assert fallen.expect == {"ostinato.performance.dropped"}
    [trigger] = found["watch/waves-drift"].triggers
    assert trigger.expect == {"ostinato.drift.detected"}
    assert trigger.match.root == {"prefect.resource.id": "ostinato.job.waves"}
    assert found["retrain/waves"].triggers == []


def test_deploying_without_a_server_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        found = [client.read_deployment_by_name(name) for name in first]
        automations = client.read_automations_by_name("busy: ostinato.drift.detected")
    assert pool.type == "process"
    assert {each.work_pool_name for each in found} == {"machines"}
    assert {each.job_variables["working_dir"] for each in found} == {str(home)}
    told = {name: each.parameters for name, each in zip(first, found, strict=True)}
    assert told.pop("rollback/busy") == {"name": "busy"}
    assert list(told.values()) == [{"job_file": "busy.yaml"}] * 7
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


def work(pool: str, server: str) -> None:
    """Let a worker, on a machine where nothing is set, do what waits for it."""
    subprocess.run(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--run-once"],
        env=environment() | {"PREFECT_API_URL": server},
        check=True,
        timeout=240,
    )


def asked(name: str) -> UUID:
    return run_deployment(name, timeout=0, as_subflow=False).id


@pytest.mark.slow
@pytest.mark.usefixtures("prefect_server")
def test_a_worker_does_the_runs_and_all_of_them_see_the_same_registry(home: Path) -> None:
    gate = {"bootstrap_samples": 200, "require_baseline": False}
    waves(120).write_parquet(home / "waves.parquet")
    path = write_job(home, WAVES | {"gate": gate}).relative_to(home)
    retrain(str(path))
    deploy([path], "crew")
    scored, rolled = asked("score/waves"), asked("rollback/waves")

    work("crew", str(PREFECT_API_URL.value()))

    with get_client(sync_client=True) as client:
        found, refused = (client.read_flow_run(each).state for each in (scored, rolled))
    assert found.is_completed(), found
    assert list((home / ".ostinato/store/scores/waves").glob("v1-*/part-00000.parquet"))
    assert "none served before version 1" in str(refused.message)
