"""Environment of Prefect and MLflow on one machine: where their data is, which servers they use.

Without servers, Prefect and MLflow work embedded: their data is in one folder, and nothing leaves
the machine. Both read their own environment variables; what the user has set there has precedence.
"""

import json
import os
from pathlib import Path

HOME_DIR = ".ostinato"

NO_TELEMETRY = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""No process that we start sends telemetry."""

THREAD_SETTINGS = {"OMP_WAIT_POLICY": "passive"}
"""Waiting threads of torch sleep. With busy waiting they block each other as soon as another
program uses a core, and a small network then trains many times slower."""

HEARTBEAT_SECONDS = 60

HEARTBEAT_SETTINGS = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
"""How often a run sends a heartbeat; an automation marks a run without them as crashed."""

UI_FILE = "ui.json"
"""In the home folder while `ostinato ui` runs: its process id and the addresses of its servers."""


def configure_environment(folder: Path = Path(HOME_DIR), *, use_running_ui: bool = True) -> None:
    """Set the variables that the user has not set, before Prefect and MLflow are imported.

    Args:
        folder: home of all data.
        use_running_ui: use the servers of an `ostinato ui` that runs in this folder.
    """
    absolute = folder.absolute()
    defaults = {
        **NO_TELEMETRY,
        **THREAD_SETTINGS,
        **HEARTBEAT_SETTINGS,
        **(read_ui_addresses(folder) if use_running_ui else {}),
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
    defaults.setdefault("MLFLOW_TRACKING_URI", build_local_tracking_uri(folder))
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    Path(os.environ["TMPDIR"]).mkdir(parents=True, exist_ok=True)
    if os.environ["MLFLOW_TRACKING_URI"] == build_local_tracking_uri(folder):
        (absolute / "mlflow").mkdir(parents=True, exist_ok=True)


def configure_run() -> None:
    """Configure a run that a worker started, where its machine sets no MLflow server."""
    if "MLFLOW_TRACKING_URI" not in os.environ:
        configure_environment()


def build_local_tracking_uri(folder: Path = Path(HOME_DIR)) -> str:
    """Return the URI of MLflow's own database in the folder."""
    return f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').absolute()}"


def find_artifact_root() -> str | None:
    """Return the folder for MLflow's files, beside its database; None where a server decides."""
    from tasks.tracking.artifact_addresses import find_artifact_dir

    folder = find_artifact_dir(os.environ.get("MLFLOW_TRACKING_URI", ""))
    return str(folder) if folder else None


def read_ui_addresses(folder: Path) -> dict[str, str]:
    """Return the server addresses of the `ostinato ui` that runs in this folder, if one does."""
    try:
        addresses = json.loads((folder / UI_FILE).read_text(encoding="utf-8"))
        # A copy of the folder does not use the servers of the original.
        if addresses.pop("folder", None) != str(folder.absolute()):
            return {}
        os.kill(addresses.pop("pid"), 0)
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {str(name): str(value) for name, value in addresses.items()}
