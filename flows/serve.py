"""Serve all flows of some job files: `python -m flows.serve JOB...`."""

import sys
from pathlib import Path

from prefect import serve

from flows.plans import deployment_of, plans_of


def main(paths: list[str]) -> None:
    """Serve until the process is ended."""
    serve(*(deployment_of(made) for path in paths for made in plans_of(Path(path))))


if __name__ == "__main__":
    main(sys.argv[1:])
