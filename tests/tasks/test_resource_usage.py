"""What a stage costs: counters are read as the kernel shows them, or told to be absent."""

from pathlib import Path

import pytest

from tasks import resource_usage
from tasks.reporting.write import _add_known
from tasks.resource_usage import (
    compute_energy,
    count_folder_bytes,
    read_counter_range,
    read_package_energy,
    start_meter,
)


def package(root: Path, name: str, microjoules: int, *, most: int = 10_000_000) -> Path:
    zone = root / name
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "energy_uj").write_text(str(microjoules), encoding="ascii")
    (zone / "max_energy_range_uj").write_text(str(most), encoding="ascii")
    return zone


def test_packages_are_counted_once_and_without_their_parts(tmp_path: Path) -> None:
    zone = package(tmp_path, "intel-rapl:0", 3_000_000)
    package(tmp_path, "intel-rapl:0:0", 2_000_000)

    assert read_package_energy(tmp_path) == {str(zone): 3.0}
    assert read_package_energy(tmp_path / "nowhere") == {}


def test_a_counter_that_begins_anew_is_no_negative_energy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zone = package(tmp_path, "intel-rapl:0", 9_000_000)
    before = read_package_energy(tmp_path)
    package(tmp_path, "intel-rapl:0", 1_000_000)
    monkeypatch.setattr(resource_usage, "read_energy", lambda: read_package_energy(tmp_path))

    assert compute_energy(before) == pytest.approx(2.0)
    assert read_counter_range(zone) == pytest.approx(10.0)


def test_energy_that_nobody_counts_is_not_told_as_zero() -> None:
    assert compute_energy({}) is None
    assert _add_known(None, None) is None
    assert _add_known(2.0, None) == 2.0


def test_a_meter_tells_time_and_memory() -> None:
    spent = start_meter().measure()

    assert spent.seconds >= 0
    assert spent.peak_memory_bytes > 2**20


def test_a_folder_has_the_bytes_of_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"123")
    (tmp_path / "c").write_bytes(b"45")

    assert count_folder_bytes(tmp_path) == 5
