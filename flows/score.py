"""Score: let a registered version answer all rows of a source, in bounded memory."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.commands.reproduce import job_of
from flows.environment import settle_run
from flows.job.form import Place
from flows.job.job import Job, load_job
from flows.results.scoring import page
from flows.runtime.heartbeat import beating
from flows.runtime.run_names import named
from tasks.ingestion.config import OnChangeConfig, SourceConfig
from tasks.ingestion.ingest import ingest
from tasks.ingestion.tables.reader import table_kind
from tasks.registry import versions
from tasks.registry.promotion import look_up
from tasks.scoring.score import Asked, Scored, number_of, score_rows
from tasks.task_options import show
from tasks.tracking.mlflow_client import TAG

JobOrName = Annotated[str, Field(min_length=1)]

RowsChoice = Literal["job", "auto", "all", "last"]

FILES = (".yaml", ".yml")


@flow(name="score", flow_run_name=named("score"), persist_result=False)
def score(
    job_file: JobOrName,
    source: Place = None,
    version: str = "champion",
    output: Place = None,
    *,
    rows: RowsChoice = "job",
) -> Scored:
    """Let a version answer every row of a source; what is answered already is not done again.

    Args:
        job_file: Path of the job file, from the folder where the worker runs; or the name of a
            model, whose version then says what it was made from.
        source: What is scored: files, a glob, a folder or a URI, as in the job's source.uri. When
            empty, what the job's section score says, else the job's own source.
        version: An alias, such as champion or challenger, or a number.
        output: Folder or URI for the dataset of answers. When empty, what the job says, else
            scores/ in the store.
        rows: Of a long table, whether a window is answered at every row (all) or at the end of
            each series (last). usual: last for forecasts, all for others. job: as the job file
            says.
    """
    settle_run()
    job, number = asked_job(job_file, version or "champion")
    with beating():
        told = score_rows(
            Asked(job.name, number, kept(job), job.score.rows if rows == "job" else rows, job.gate),
            ingest(source_of(job, source), job.store),
            output=output or job.score.output,
            store=job.store,
        )
    show(f"{job.name}-scores", page(told))
    return told.scored


def name_of(asked: str) -> str:
    """Name the job of a file, or the model.

    Raises:
        JobError: the job is not valid.
    """
    return load_job(Path(asked)).name if asked.endswith(FILES) else asked


def asked_job(asked: str, version: str) -> tuple[Job, str]:
    """Read a job file, or the job of a model's version; find the version's number.

    Raises:
        JobError: the job is not valid.
        RegistryError: there is no such model or version.
    """
    if asked.endswith(FILES):
        job = load_job(Path(asked))
        return job, number_of(job.name, version)
    look_up(asked, None)
    number = number_of(asked, version)
    tags = versions.find_number(asked, number).tags
    return job_of(tags.get(f"{TAG}job", ""), f"{asked} version {number}"), number


def kept(job: Job) -> tuple[str, ...]:
    """Name the columns that go with each answer: whose and when it is, and what the job adds."""
    own = (job.split.id, job.source.entity, job.source.time)
    return tuple(dict.fromkeys([*(name for name in own if name), *job.score.passthrough_columns]))


def source_of(job: Job, asked: str | None) -> SourceConfig:
    """Say what is scored; a source that is not the job's own may change as it likes."""
    uri = asked or job.score.source
    if uri is None or uri == job.source.uri:
        return job.source
    database = table_kind(uri) in {"postgresql", "sqlite"}
    return replace(
        job.source,
        uri=uri,
        query=job.source.query if database else None,
        on_change=OnChangeConfig(missing="ignore", row_loss="ignore", schema="warn"),
    )
