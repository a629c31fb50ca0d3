"""What is secret in the environment or in a block is written nowhere, whatever becomes of a run."""

import subprocess
from pathlib import Path

import boto3
import polars as pl
import pytest
import yaml

from tests.support.sample_jobs import WAVES, ostinato, waves, write_job

SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "s3-key-4f0b9e2d",
    "PGPASSWORD": "pg-word-77ac01e5",
    "MY_OWN_TOKEN": "my-token-c29d3b88",
}


def written(folder: Path, bucket: str) -> dict[str, bytes]:
    """Read every byte that runs have left: databases, logs, artifacts, and the bucket."""
    files = {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    box = boto3.resource("s3").Bucket(bucket)
    return files | {f"s3://{each.key}": each.get()["Body"].read() for each in box.objects.all()}


def leaks(found: dict[str, bytes]) -> list[str]:
    return [
        f"{name} in {place}"
        for place, data in found.items()
        for name, secret in SECRETS.items()
        if secret.encode() in data
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_secrets_of_the_environment_are_written_nowhere(
    tmp_path: Path, s3_bucket: str, s3_server: str
) -> None:
    broken = waves(200).with_columns(
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
    write_job(tmp_path, job | {"name": "gone", "source": {"uri": f"s3://{s3_bucket}/gone.parquet"}})

    def run(name: str) -> "subprocess.CompletedProcess[str]":
        return ostinato(tmp_path, "run", f"{name}.yaml", AWS_ENDPOINT_URL=s3_server, **SECRETS)

    done, missing = run("waves"), run("gone")

    assert done.returncode == 0, done.stderr
    assert missing.returncode == 3, missing.stderr
    found = written(tmp_path, s3_bucket)
    said = {run.args[-1]: (run.stdout + run.stderr).encode() for run in (done, missing)}
    assert any("prefect.db" in place for place in found)
    assert any("mlflow.db" in place for place in found)
    assert any("report.html" in place for place in found)
    assert any("quarantine.parquet" in place for place in found)
    assert leaks(found | said) == []


@pytest.mark.parametrize("where", ["source", "store"])
def test_a_job_file_with_a_secret_is_refused_before_anything_is_written(
    tmp_path: Path, where: str
) -> None:
    secret = SECRETS["AWS_SECRET_ACCESS_KEY"]
    path = write_job(tmp_path, WAVES)
    told = yaml.safe_load(path.read_text()) | {where: {"uri": f"s3://AKIA:{secret}@bucket/x"}}
    path.write_text(yaml.safe_dump(told))

    done = ostinato(tmp_path, "run", path.name)

    assert done.returncode == 2
    assert f"{where}.uri: it holds a password or a token" in done.stderr
    assert "AWS_SECRET_ACCESS_KEY" in done.stderr
    assert secret not in done.stdout + done.stderr
    [*others] = [each for each in tmp_path.rglob("*") if each.is_file() and each != path]
    assert not any(secret.encode() in each.read_bytes() for each in others)
