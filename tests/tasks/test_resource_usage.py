"""Resource usage of a stage: counters are read from the kernel, or reported as unknown."""

from pathlib import Path

import pytest

from tasks import resource_usage
from tasks.reporting.write import sum_known
from tasks.resource_usage import (
    compute_energy,
    count_folder_bytes,
    read_counter_range,
    read_package_energy,
    start_meter,
)


def write_package(
    root: Path, name: str, microjoules: int, *, counter_range: int = 10_000_000
) -> Path:
    zone = root / name
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "energy_uj").write_text(str(microjoules), encoding="ascii")
    (zone / "max_energy_range_uj").write_text(str(counter_range), encoding="ascii")
    return zone


def test_the_energy_of_a_package_does_not_include_its_subzones(tmp_path: Path) -> None:
    zone = write_package(tmp_path, "intel-rapl:0", 3_000_000)
    write_package(tmp_path, "intel-rapl:0:0", 2_000_000)

    assert read_package_energy(tmp_path) == {str(zone): 3.0}
    assert read_package_energy(tmp_path / "missing") == {}


def test_a_counter_that_wraps_around_gives_no_negative_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = write_package(tmp_path, "intel-rapl:0", 9_000_000)
    before = read_package_energy(tmp_path)
    write_package(tmp_path, "intel-rapl:0", 1_000_000)
    monkeypatch.setattr(resource_usage, "read_energy", lambda: read_package_energy(tmp_path))

    assert compute_energy(before) == pytest.approx(2.0)
    assert read_counter_range(zone) == pytest.approx(10.0)


def test_unknown_energy_is_not_reported_as_zero() -> None:
    assert compute_energy({}) is None
    assert sum_known(None, None) is None
    assert sum_known(2.0, None) == 2.0


def test_a_meter_measures_time_and_memory() -> None:
    usage = start_meter().measure()

    assert usage.seconds >= 0
    assert usage.peak_memory_bytes > 2**20


def test_the_bytes_of_a_folder_are_those_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    (tmp_path / "c").write_bytes(b"45")

    assert count_folder_bytes(tmp_path) == 5
