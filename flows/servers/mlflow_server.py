"""MLflow's command line for the server that we start, whose database is made whole before."""

import runpy

from tasks.tracking.mlflow_database import create_mlflow_database

if __name__ == "__main__":
    create_mlflow_database()
    runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
