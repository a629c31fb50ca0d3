"""Score: predict all rows of a source with a registered version, in bounded memory."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.environment import configure_run
from flows.job.form import Uri
from flows.job.job import Job, load_job
from flows.job.registered import load_registered_job
from flows.results.scoring import format_page
from flows.runtime.concurrency import keep_running_without_slot
from flows.runtime.damaged_artifacts import remake_damaged
from flows.runtime.heartbeat import send_heartbeats
from flows.runtime.run_names import build_run_name
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.ingest import ingest
from tasks.ingestion.tables.reader import detect_table_kind
from tasks.registry import versions
from tasks.registry.promotion import check_version_exists
from tasks.scoring.score import ScoredDataset, ScoringRequest, resolve_version, score_rows
from tasks.task_options import publish_page
from tasks.tracking.mlflow_client import TAG

_JobOrName = Annotated[str, Field(min_length=1)]

RowsChoice = Literal["job", "auto", "all", "last"]

_JOB_SUFFIXES = (".yaml", ".yml")

keep_running_without_slot()


@flow(name="score", flow_run_name=build_run_name("score"), persist_result=False)
def score(
    job_file: _JobOrName,
    source: Uri = None,
    version: str = "champion",
    output: Uri = None,
    *,
    rows: RowsChoice = "job",
) -> ScoredDataset:
    """Score every row of a source with a version; a dataset that exists already is reused.

    Args:
        job_file: Path of the job file, from the folder where the worker runs; or the name of a
            model, whose version then gives the job.
        source: Rows to score: files, a glob, a folder or a URI, as in the job's source.uri. When
            empty, the job's score.source, else the job's own source.
        version: An alias, such as champion or challenger, or a number.
        output: Folder or URI for the dataset of predictions. When empty, the job's score.output,
            else scores/ in the store.
        rows: Of a long table, whether a window is scored at every row (all) or at the end of each
            series (last). auto: last for forecasts, all for others. job: as the job file says.
    """
    configure_run()
    job, number = _load_requested_job(job_file, version or "champion")
    with send_heartbeats():
        columns = _list_passthrough_columns(job)
        row_choice = job.score.rows if rows == "job" else rows
        request = ScoringRequest(job.name, number, columns, row_choice, job.gate)
        result = remake_damaged(
            job.store,
            lambda: score_rows(
                request,
                ingest(_choose_source(job, source), job.store),
                output=output or job.score.output,
                store=job.store,
            ),
        )
    publish_page(f"{job.name}-scores", format_page(result))
    return result.dataset


def read_job_name(job_or_name: str) -> str:
    """Return the name of a job file's job; a model's name is returned as it is.

    Raises:
        JobError: the job is not valid.
    """
    return load_job(Path(job_or_name)).name if job_or_name.endswith(_JOB_SUFFIXES) else job_or_name


def _load_requested_job(job_or_name: str, version: str) -> tuple[Job, str]:
    """Read a job file, or the job of a model's version; find the version's number.

    Raises:
        JobError: the job is not valid.
        RegistryError: there is no such model or version.
    """
    if job_or_name.endswith(_JOB_SUFFIXES):
        job = load_job(Path(job_or_name))
        return job, resolve_version(job.name, version)
    check_version_exists(job_or_name, None)
    number = resolve_version(job_or_name, version)
    tags = versions.get_version(job_or_name, number).tags
    title = f"{job_or_name} version {number}"
    return load_registered_job(tags.get(f"{TAG}job", ""), title), number


def _list_passthrough_columns(job: Job) -> tuple[str, ...]:
    """List the columns copied to each prediction: its id, entity and time, and the job's own."""
    own = (job.split.id, job.source.entity, job.source.time)
    return tuple(dict.fromkeys([*(name for name in own if name), *job.score.passthrough_columns]))


def _choose_source(job: Job, requested_uri: str | None) -> SourceConfig:
    """Return the source to score; a source other than the job's own may change freely."""
    uri = requested_uri or job.score.source
    if uri is None or uri == job.source.uri:
        return job.source
    is_database = detect_table_kind(uri) in {"postgresql", "sqlite"}
    return replace(
        job.source,
        uri=uri,
        query=job.source.query if is_database else None,
        on_change=OnChangeConfig(missing="ignore", row_loss="ignore", schema="warn"),
    )
