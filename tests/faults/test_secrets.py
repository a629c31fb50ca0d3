"""Secrets of the environment are written nowhere, whether a run succeeds or fails."""

import subprocess
from pathlib import Path

import boto3
import polars as pl
import pytest
import yaml

from tests.support.sample_jobs import WAVES, make_waves, run_ostinato, write_job

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3-key-4f0b9e2d",
    "PGPASSWORD": "pg-word-77ac01e5",
    "MY_OWN_TOKEN": "my-token-c29d3b88",
}


def read_written_files(folder: Path, bucket: str) -> dict[str, bytes]:
    """Read all files that runs have written: databases, logs, artifacts, and the bucket."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    objects = boto3.resource("s3").Bucket(bucket).objects.all()
    return files | {f"s3://{each.key}": each.get()["Body"].read() for each in objects}


def find_leaks(files: dict[str, bytes]) -> list[str]:
    return [
        f"{name} in {path}"
        for path, data in files.items()
        for name, secret in SECRETS.items()
        if secret.encode() in data
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_secrets_of_the_environment_are_written_nowhere(
    tmp_path: Path, s3_bucket: str, s3_server: str
) -> None:
    broken = make_waves(200).with_columns(
        pl.when(pl.col("id") < 1).then(None).otherwise(pl.col("label")).alias("label")
    )
    local = tmp_path / "waves.parquet"
    broken.write_parquet(local)
    boto3.client("s3").upload_file(str(local), s3_bucket, "waves.parquet")
    job = WAVES | {
        "source": {"uri": f"s3://{s3_bucket}/waves.parquet"},
        "store": {"uri": f"s3://{s3_bucket}/store"},
    }
    write_job(tmp_path, job)
    write_job(
        tmp_path, job | {"name": "missing", "source": {"uri": f"s3://{s3_bucket}/missing.parquet"}}
    )

    def run(name: str) -> "subprocess.CompletedProcess[str]":
        return run_ostinato(tmp_path, "run", f"{name}.yaml", AWS_ENDPOINT_URL=s3_server, **SECRETS)

    succeeded, missing = run("waves"), run("missing")

    assert succeeded.returncode == 0, succeeded.stderr
    assert missing.returncode == 3, missing.stderr
    files = read_written_files(tmp_path, s3_bucket)
    output = {run.args[-1]: (run.stdout + run.stderr).encode() for run in (succeeded, missing)}
    assert any("prefect.db" in path for path in files)
    assert any("mlflow.db" in path for path in files)
    assert any("report.html" in path for path in files)
    assert any("quarantine.parquet" in path for path in files)
    assert find_leaks(files | output) == []


@pytest.mark.parametrize("where", ["source", "store"])
def test_a_job_file_with_a_secret_is_refused_before_anything_is_written(
    tmp_path: Path, where: str
) -> None:
    secret = SECRETS["AWS_SECRET_ACCESS_KEY"]
    path = write_job(tmp_path, WAVES)
    job = yaml.safe_load(path.read_text()) | {where: {"uri": f"s3://AKIA:{secret}@bucket/x"}}
    path.write_text(yaml.safe_dump(job))

    result = run_ostinato(tmp_path, "run", path.name)

    assert result.returncode == 2
    assert f"{where}.uri: it holds a password or a token" in result.stderr
    assert "AWS_SECRET_ACCESS_KEY" in result.stderr
    assert secret not in result.stdout + result.stderr
    [*others] = [each for each in tmp_path.rglob("*") if each.is_file() and each != path]
    assert not any(secret.encode() in each.read_bytes() for each in others)
