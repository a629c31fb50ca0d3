"""A folder that is moved, copied or restored keeps its models, and never writes into another."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.registry import versions
from tasks.serving.package_files import seal_package
from tasks.tracking import mlflow_client
from tasks.tracking.artifact_addresses import EXPERIMENT_TAG, find_artifact_dir
from tests.support.registry import register_versions

ODD_NAME = "moved to a place with \u00fc, spaces and #1"


@pytest.fixture
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    (folder / "weights.bin").write_bytes(bytes(1000))
    seal_package(folder)
    return folder


@pytest.fixture
def project(home: Path, package: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one version in its registry."""
    folder = home.rename(home.with_name(f"{home.name}-project"))
    enter(folder, monkeypatch)
    register_versions(package)
    run = MlflowClient().get_model_version("waves", "1").run_id
    MlflowClient().log_text(run, "a report", "report.txt")
    return folder


def enter(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go on in a folder, as another process that starts there would."""
    monkeypatch.chdir(folder)
    database = folder / ".ostinato" / "mlflow" / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{database}")


def read_all() -> tuple[bytes, str]:
    """Return the content of a file of version 1, and of one of its run."""
    run = MlflowClient().get_model_version("waves", "1").run_id
    weights = (versions.fetch_files("waves", "1") / "weights.bin").read_bytes()
    report = mlflow_client.open_client().download_artifacts(run, "report.txt")
    return weights, Path(report).read_text(encoding="utf-8")


def list_contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


WHOLE = (bytes(1000), "a report")


def test_a_moved_folder_keeps_its_models_each_time(
    project: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("renamed", ODD_NAME):
        project = project.rename(project.with_name(f"{project.name}-{name}"))
        enter(project, monkeypatch)

        assert read_all() == WHOLE

    register_versions(package)
    assert versions.fetch_files("waves", "2").is_dir()
    assert len(list(project.rglob("weights.bin"))) == 2
    assert versions.measure_version_bytes(versions.get_version("waves", "2")) > 1000


def test_a_copy_reads_and_writes_its_own_files(
    project: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, before = project.with_name(f"{project.name}-copy"), list_contents(project)
    shutil.copytree(project, copy)
    enter(copy, monkeypatch)

    assert read_all() == WHOLE
    register_versions(package)
    versions.delete_version("waves", "1")

    assert list_contents(project) == before
    assert len(list(copy.rglob("weights.bin"))) == 1
    enter(project, monkeypatch)
    assert read_all() == WHOLE


def test_a_folder_is_restored_from_an_archive(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = shutil.make_archive(str(project), "tar", project)
    shutil.rmtree(project)
    restored = project.with_name(f"{project.name}-restored")
    shutil.unpack_archive(archive, restored)
    enter(restored, monkeypatch)

    assert read_all() == WHOLE


def test_files_that_the_user_keeps_elsewhere_stay_there(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "artifacts"
    (elsewhere / "own").mkdir(parents=True)
    client = MlflowClient()
    addresses = {
        "own": (elsewhere / "own").as_uri(),
        "untagged": "file:///not/mounted/now/untagged",
        "bucket": "s3://bucket/bucket",
    }
    for name, address in addresses.items():
        tags = {} if name == "untagged" else {EXPERIMENT_TAG: name}
        client.create_experiment(name, artifact_location=address, tags=tags)
    moved = project.rename(project.with_name(f"{project.name}-moved"))
    enter(moved, monkeypatch)

    assert read_all() == WHOLE
    for name, address in addresses.items():
        assert MlflowClient().get_experiment_by_name(name).artifact_location == address


def test_files_lie_beside_the_database_unless_it_is_a_server() -> None:
    assert find_artifact_dir("sqlite:////a/b/mlflow.db") == Path("/a/b/artifacts")
    assert find_artifact_dir("sqlite:///b/mlflow.db?timeout=5") == Path("b/artifacts").absolute()
    assert find_artifact_dir("http://127.0.0.1:5000") is None
    assert find_artifact_dir("sqlite://") is None
