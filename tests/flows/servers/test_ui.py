"""`ostinato ui`: both servers and the jobs, started together and stopped together."""

import json
import signal
import socket
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.sample_jobs import (
    WAVES,
    Pages,
    fetch,
    make_waves,
    run_ostinato,
    send_json,
    start_pages,
    wait_until,
    write_job,
)

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


def find_deployment(pages: Pages, flow: str = "retrain") -> dict[str, Any]:
    query = {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": ["waves"]}}}
    return wait_until(
        lambda: send_json(f"{pages.prefect}/api/deployments/filter", query),
    )[0]


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; a zombie does not, it only waits for its parent."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def test_both_servers_listen_on_localhost_only(pages: Pages) -> None:
    listening = {
        connection.laddr.ip
        for child in psutil.Process(pages.process.pid).children(recursive=True)
        for connection in child.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }

    assert b"true" in fetch(f"{pages.prefect}/api/health")
    assert b"OK" in fetch(f"{pages.mlflow}/health")
    assert b"<title>" in fetch(pages.mlflow)
    assert listening == {"127.0.0.1"}


def test_a_job_with_a_schedule_has_its_next_runs_waiting(pages: Pages) -> None:
    result = find_deployment(pages)
    body = {
        "limit": 3,
        "flow_runs": {
            "deployment_id": {"any_": [result["id"]]},
            "state": {"type": {"any_": ["SCHEDULED"]}},
        },
    }

    waiting = wait_until(lambda: send_json(f"{pages.prefect}/api/flow_runs/filter", body))

    assert result["name"] == "waves"
    assert {run["expected_start_time"][11:16] for run in waiting} == {"03:00"}


def test_a_run_started_on_the_page_is_executed_by_the_served_job(pages: Pages) -> None:
    parameters = {"job_file": "waves.yaml", "overrides": {"training.seed": 21}}
    url = f"{pages.prefect}/api/deployments/{find_deployment(pages)['id']}/create_flow_run"
    run = send_json(url, {"parameters": parameters})

    def read_finished_run() -> dict[str, Any] | None:
        result = json.loads(fetch(f"{pages.prefect}/api/flow_runs/{run['id']}"))
        return result if result["state_type"] in FINAL else None

    done = wait_until(read_finished_run)

    assert done["state_type"] == "COMPLETED", done["state"]
    body = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    texts = {a["key"]: a["data"] for a in send_json(f"{pages.prefect}/api/artifacts/filter", body)}
    assert pages.mlflow in texts["waves-result"]
    assert texts["training"] == 100.0


def test_a_search_can_be_started_on_the_page(pages: Pages) -> None:
    result = find_deployment(pages, "tune")
    parameters = {"job_file": "waves.yaml", "trials": 2, "overrides": {"training.epochs": 2}}
    url = f"{pages.prefect}/api/deployments/{result['id']}/create_flow_run"
    run = send_json(url, {"parameters": parameters})

    def read_finished_run() -> dict[str, Any] | None:
        result = json.loads(fetch(f"{pages.prefect}/api/flow_runs/{run['id']}"))
        return result if result["state_type"] in FINAL else None

    done = wait_until(read_finished_run)

    assert done["state_type"] == "COMPLETED", done["state"]
    assert (pages.folder / "waves.tuned.yaml").exists()
    form = result["parameter_openapi_schema"]["properties"]
    assert set(form) == {"job_file", "overrides", "trials", "budget", "output", "force"}
    assert "30m" in form["budget"]["description"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rollback_is_a_form_on_the_page(pages: Pages) -> None:
    for seed in ("31", "32"):
        run_ostinato(pages.folder, "run", "waves.yaml", "--set", f"training.seed={seed}")
    expected = {"name": "waves"}
    aliases = json.loads(run_ostinato(pages.folder, "history", "waves", "--json").stdout)["aliases"]
    before = aliases["champion"]
    newest = max(int(v["version"]) for v in list_versions(pages) if v["version"] != before)
    promoted = run_ostinato(pages.folder, "promote", "waves", str(newest), "--json")
    assert promoted.returncode == 0, promoted.stdout
    result = find_deployment(pages, "rollback")
    url = f"{pages.prefect}/api/deployments/{result['id']}/create_flow_run"
    run = send_json(url, {"parameters": result["parameters"] | {"why": "it alarmed"}})

    def read_finished_run() -> dict[str, Any] | None:
        result = json.loads(fetch(f"{pages.prefect}/api/flow_runs/{run['id']}"))
        return result if result["state_type"] in FINAL else None

    done = wait_until(read_finished_run)

    assert done["state_type"] == "COMPLETED", done["state"]
    assert result["parameters"] == expected
    form = result["parameter_openapi_schema"]["properties"]
    assert set(form) == {"name", "version", "why", "store"}
    history = json.loads(run_ostinato(pages.folder, "history", "waves", "--json").stdout)
    assert (history["moves"][-1]["action"], history["moves"][-1]["reason"]) == (
        "rollback", "it alarmed",
    )  # fmt: skip
    assert history["moves"][-1]["actor"] == f"prefect run {run['id']}"
    assert history["aliases"]["champion"] == before
    body = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}}
    texts = {a["key"]: a["data"] for a in send_json(f"{pages.prefect}/api/artifacts/filter", body)}
    assert "it alarmed" in texts["waves-rollback"]


def list_versions(pages: Pages) -> list[dict[str, Any]]:
    result = fetch(f"{pages.mlflow}/api/2.0/mlflow/model-versions/search?filter=name%3D%27waves%27")
    return list(json.loads(result)["model_versions"])


def test_a_run_in_the_same_folder_uses_the_pages_servers(pages: Pages) -> None:
    done = run_ostinato(pages.folder, "run", "waves.yaml", "--json")

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert set(outcome) >= {
        "job", "version", "decision", "metrics", "baseline", "recomputed", "seconds",
    }  # fmt: skip
    assert outcome["links"]["model version"].startswith(pages.mlflow)
    assert b"waves" in fetch(f"{pages.mlflow}/api/2.0/mlflow/registered-models/get?name=waves")


@pytest.mark.slow
def test_a_job_with_a_missing_notification_block_is_rejected_before_serving(
    pages: Pages, tmp_path: Path
) -> None:
    write_job(
        tmp_path, WAVES | {"name": "notifying", "notify": [{"block": "slack-webhook/nobody"}]}
    )
    servers = {"PREFECT_API_URL": f"{pages.prefect}/api", "MLFLOW_TRACKING_URI": pages.mlflow}

    done = run_ostinato(tmp_path, "ui", "notifying.yaml", **servers)

    assert done.returncode == 2
    assert (
        "job file notifying.yaml, notify[0].block: the Prefect server has no block" in done.stderr
    )
    assert "`ostinato ui` without a job serves the pages" in done.stderr


def test_a_port_in_use_is_not_taken_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    make_waves(60).write_parquet(tmp_path / "waves.parquet")
    write_job(tmp_path, WAVES)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])

        opened = start_pages(tmp_path, "waves.yaml", "--prefect-port", port, "--mlflow-port", "0")
    processes = psutil.Process(opened.process.pid).children(recursive=True)
    opened.process.send_signal(signal.SIGINT)
    opened.process.communicate(timeout=60)

    assert not opened.prefect.endswith(port)
    assert opened.process.returncode == 130
    assert len(processes) >= 3
    assert not [child for child in processes if is_alive(child)]
    assert not (tmp_path / ".ostinato" / "ui.json").exists()
