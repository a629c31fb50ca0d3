"""Where everything lies on one machine, and which servers are used.

Without servers, Prefect and MLflow work embedded: their data goes under one folder, and nothing
leaves the machine. Prefect and MLflow read their own environment variables; what a user has set
there wins.
"""

import json
import os
from pathlib import Path

HOME = ".ostinato"

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nothing that we start reports to anybody."""


PATIENT = {"OMP_WAIT_POLICY": "passive"}
"""Threads of torch sleep while they wait for each other. Spinning, they starve each other as soon
as another program takes a core, and a small network then trains many times slower."""


BEAT_SECONDS = 60

ALIVE = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(BEAT_SECONDS)}
"""How often a run reports that its process is alive; an automation ends those that do not."""


def settle(folder: Path = Path(HOME), *, use_pages: bool = True) -> None:
    """Set what the user has not set, before Prefect and MLflow are imported.

    Args:
        folder: where everything lies.
        use_pages: use the servers of an `ostinato ui` that runs in this folder.
    """
    absolute = folder.absolute()
    defaults = {
        **QUIET,
        **PATIENT,
        **ALIVE,
        **(open_pages(folder) if use_pages else {}),
        "PREFECT_HOME": str(absolute / "prefect"),
        "TMPDIR": str(absolute / "tmp"),
        # On a busy machine the embedded server takes longer than Prefect's 20 s.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "INFO",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "GIT_PYTHON_REFRESH": "quiet",
    }
    defaults.setdefault("MLFLOW_TRACKING_URI", local_tracking_uri(folder))
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    Path(os.environ["TMPDIR"]).mkdir(parents=True, exist_ok=True)
    if os.environ["MLFLOW_TRACKING_URI"] == local_tracking_uri(folder):
        (absolute / "mlflow").mkdir(parents=True, exist_ok=True)


def settle_run() -> None:
    """Settle for a run that a worker started, whose machine names no MLflow."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        settle()


def open_pages(folder: Path) -> dict[str, str]:
    """Name the servers of the `ostinato ui` that is up in this folder, if one is."""
    try:
        pages = json.loads((folder / "pages.json").read_text(encoding="utf-8"))
        os.kill(pages.pop("pid"), 0)
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {str(name): str(value) for name, value in pages.items()}


def local_tracking_uri(folder: Path = Path(HOME)) -> str:
    """MLflow's database under the folder."""
    return f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').absolute()}"


def artifact_root(folder: Path = Path(HOME)) -> str | None:
    """Folder for MLflow's files where it works embedded; None where a server decides."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    return str((folder / "mlflow" / "artifacts").absolute()) if uri.startswith("sqlite:") else None
