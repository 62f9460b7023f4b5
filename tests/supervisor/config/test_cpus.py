import os
from pathlib import Path

import pytest

from blazeio_supervisor.config.types import count_cpus

AFFINITY = len(os.sched_getaffinity(0))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "cgroup"
    file.write_text("3:cpu:/old\n0::/a/b\n")
    (tmp_path / "fs" / "a" / "b").mkdir(parents=True)
    return file


def test_without_a_quota_the_affinity_counts(tmp_path: Path, own: Path) -> None:
    (tmp_path / "fs/a/b/cpu.max").write_text("max 100000\n")
    assert count_cpus(tmp_path / "fs", own) == AFFINITY


@pytest.mark.parametrize("folder", ["a/b", "a", "."])
def test_the_least_quota_of_the_groups_above_counts(
    tmp_path: Path, own: Path, folder: str
) -> None:
    (tmp_path / "fs" / folder / "cpu.max").write_text("100000 100000\n")
    assert count_cpus(tmp_path / "fs", own) == 1


@pytest.mark.parametrize(("quota", "cores"), [(50_000, 1), (150_000, 2)])
def test_a_part_of_a_core_counts_as_one(
    tmp_path: Path, own: Path, quota: int, cores: int
) -> None:
    (tmp_path / "fs/a/cpu.max").write_text(f"{quota} 100000\n")
    assert count_cpus(tmp_path / "fs", own) == min(cores, AFFINITY)


def test_a_machine_without_cgroups_has_its_affinity(tmp_path: Path) -> None:
    assert count_cpus(tmp_path, tmp_path / "none") == AFFINITY
