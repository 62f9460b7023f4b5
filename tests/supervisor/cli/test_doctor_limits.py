import os
from pathlib import Path

import pytest

from blazeio_supervisor.cli.doctor_machine import (
    examine_bounds,
    examine_files,
    examine_memory,
    examine_quota,
)
from blazeio_supervisor.config.environment import ControlGroup
from tests.supervisor.cli.test_machine import put

LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max processes             31000                31000                processes
Max open files            1024                 {hard}                files"""


@pytest.mark.parametrize(
    ("hard", "connections", "verdict"),
    [
        (4096, None, "ok"),
        (1024, None, "warn"),
        (4096, 8000, "warn"),
        (8064, 8000, "ok"),
    ],
)
def test_a_connection_is_a_descriptor(
    tmp_path: Path, hard: int, connections: int | None, verdict: str
) -> None:
    put(tmp_path, "limits", LIMITS.format(hard=hard))
    assert examine_files(tmp_path, connections).verdict == verdict


@pytest.mark.parametrize(
    ("quota", "workers", "verdict"),
    [
        ("max 100000", 8, "ok"),
        ("200000 100000", 2, "ok"),
        ("150000 100000", 2, "warn"),
        ("50000 100000", 1, "ok"),
    ],
)
def test_more_workers_than_cores_are_told(
    tmp_path: Path, quota: str, workers: int, verdict: str
) -> None:
    put(tmp_path, "cpu.max", quota)
    assert examine_quota([ControlGroup(tmp_path, 2)], workers).verdict == verdict


def test_a_group_that_is_throttled_is_told(tmp_path: Path) -> None:
    put(tmp_path, "cpu.max", "200000 100000")
    put(tmp_path, "cpu.stat", "usage_usec 9\nnr_periods 100\nnr_throttled 30")
    finding = examine_quota([ControlGroup(tmp_path, 2)], 2)
    assert finding.verdict == "warn"
    assert "throttled in 30% of all periods" in finding.seen


@pytest.mark.parametrize(
    ("most", "verdict"), [("max", "ok"), ("1000000", "ok"), ("510000", "warn")]
)
def test_memory_that_is_almost_used_up_is_told(
    tmp_path: Path, most: str, verdict: str
) -> None:
    put(tmp_path, "memory.max", most)
    put(tmp_path, "memory.current", "500000")
    assert examine_memory([ControlGroup(tmp_path, 2)]).verdict == verdict


def test_the_groups_above_count_too(tmp_path: Path) -> None:
    put(tmp_path, "proc/7/cgroup", "0::/a/b")
    put(tmp_path, "proc/7/limits", LIMITS.format(hard=4096))
    put(tmp_path, "sys/fs/cgroup/a/cpu.max", "100000 100000")
    put(tmp_path, "sys/fs/cgroup/a/b/memory.max", "max")
    files, quota, memory = examine_bounds(7, 4, None, tmp_path)
    assert (files.verdict, quota.verdict, memory.verdict) == ("ok", "warn", "ok")
    assert quota.seen == "1 core for 4 workers"


def test_where_nothing_is_visible_nothing_is_wrong(tmp_path: Path) -> None:
    verdicts = [each.verdict for each in examine_bounds(1, 2, None, tmp_path)]
    assert verdicts == ["unknown", "unknown"]


def test_this_process_can_be_looked_at() -> None:
    first = next(examine_bounds(os.getpid(), 1, None))
    assert first.name == "open files"
