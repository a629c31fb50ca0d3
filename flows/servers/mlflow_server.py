"""MLflow's command line for the server that we start, whose database is made whole before."""

import runpy

from flows.servers.processes import exit_on_store_error
from tasks.tracking.mlflow_database import create_mlflow_database

if __name__ == "__main__":
    exit_on_store_error(create_mlflow_database)
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
