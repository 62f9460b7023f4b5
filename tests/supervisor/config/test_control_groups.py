"""The bounds of control groups, from files as real machines have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.cli.doctor_machine import examine_bounds
from blazeio_supervisor.config.environment import count_cpus, list_groups

AFFINITY = len(os.sched_getaffinity(0))
ROOT = "sys/fs/cgroup"
LIMITS = "Max open files            1024                 65536                files\n"
V1 = (
    "12:pids:{path}\n11:memory:{path}\n10:cpuset:{path}\n9:cpu,cpuacct:{path}\n"
    "8:blkio:{path}\n1:name=systemd:{path}\n"
)
HYBRID = V1 + "0::{path}\n"
DOCKER = "/docker/4f5a"
NONE_V1 = "9223372036854771712\n"
"""What memory.limit_in_bytes says where there is no bound."""

Files = dict[str, str]


def quota_v1(folder: str, quota: str) -> Files:
    return {
        f"{folder}/cpu.cfs_quota_us": f"{quota}\n",
        f"{folder}/cpu.cfs_period_us": "100000\n",
        f"{folder}/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n",
    }


QUOTAS: dict[str, tuple[str, Files, float | None]] = {
    "v2 without a bound": ("0::/web\n", {f"{ROOT}/web/cpu.max": "max 100000\n"}, None),
    "v2 --cpus 0.5": ("0::/\n", {f"{ROOT}/cpu.max": "50000 100000\n"}, 0.5),
    "v2 of a unit, CPUQuota=150%": (
        "0::/system.slice/web.service\n",
        {f"{ROOT}/system.slice/web.service/cpu.max": "150000 100000\n"},
        1.5,
    ),
    "v2, the group above has less": (
        "0::/kubepods/pod1/c1\n",
        {
            f"{ROOT}/kubepods/pod1/c1/cpu.max": "400000 100000\n",
            f"{ROOT}/kubepods/pod1/cpu.max": "100000 100000\n",
            f"{ROOT}/kubepods/cpu.max": "max 100000\n",
        },
        1.0,
    ),
    "v2 of a namespace, a path above it": (
        "0::/../../kubepods/pod1\n",
        {f"{ROOT}/cpu.max": "20000 10000\n"},
        2.0,
    ),
    "v1 without a bound": (
        V1.format(path="/"),
        quota_v1(f"{ROOT}/cpu,cpuacct", "-1"),
        None,
    ),
    "v1 --cpus 0.5, seen in the container": (
        V1.format(path=DOCKER),  # the path of the host; the mount is the container's
        quota_v1(f"{ROOT}/cpu,cpuacct", "50000"),
        0.5,
    ),
    "v1 of a unit on the host": (
        V1.format(path="/system.slice/web.service"),
        quota_v1(f"{ROOT}/cpu,cpuacct/system.slice/web.service", "150000")
        | quota_v1(f"{ROOT}/cpu,cpuacct/system.slice", "-1")
        | quota_v1(f"{ROOT}/cpu,cpuacct", "-1"),
        1.5,
    ),
    "v1, the group above has less": (
        V1.format(path="/kubepods/pod1/c1"),
        quota_v1(f"{ROOT}/cpu,cpuacct/kubepods/pod1/c1", "-1")
        | quota_v1(f"{ROOT}/cpu,cpuacct/kubepods/pod1", "200000"),
        2.0,
    ),
    "v1 with a mount for cpu alone": (
        "4:memory:/a\n1:cpu:/a\n",
        quota_v1(f"{ROOT}/cpu/a", "50000"),
        0.5,
    ),
    "hybrid, where v2 has no controller": (
        HYBRID.format(path=DOCKER),
        quota_v1(f"{ROOT}/cpu,cpuacct{DOCKER}", "50000")
        | {f"{ROOT}/unified{DOCKER}/cgroup.procs": "1\n"},
        0.5,
    ),
    "hybrid, the controller is in v2": (
        "11:memory:/a\n0::/a\n",
        {f"{ROOT}/unified/a/cpu.max": "50000 100000\n"},
        0.5,
    ),
    "no control groups": ("", {}, None),
    "a file that says something else": ("0::/\n", {f"{ROOT}/cpu.max": "much\n"}, None),
}
"""By name: /proc/self/cgroup, other files, and how many cores they allow."""
MEMORY: dict[str, tuple[str, Files, int | None]] = {
    "v2 without a bound": (
        "0::/web\n",
        {f"{ROOT}/web/memory.max": "max\n", f"{ROOT}/web/memory.current": "5\n"},
        None,
    ),
    "v2 -m 512m": (
        "0::/\n",
        {f"{ROOT}/memory.max": "536870912\n", f"{ROOT}/memory.current": "5242880\n"},
        536870912,
    ),
    "v1 without a bound": (
        V1.format(path="/"),
        {
            f"{ROOT}/memory/memory.limit_in_bytes": NONE_V1,
            f"{ROOT}/memory/memory.usage_in_bytes": "5242880\n",
        },
        None,
    ),
    "v1 -m 512m, seen in the container": (
        V1.format(path=DOCKER),
        {
            f"{ROOT}/memory/memory.limit_in_bytes": "536870912\n",
            f"{ROOT}/memory/memory.usage_in_bytes": "5242880\n",
        },
        536870912,
    ),
    "v1, the group above has less": (
        V1.format(path="/a/b"),
        {
            f"{ROOT}/memory/a/b/memory.limit_in_bytes": NONE_V1,
            f"{ROOT}/memory/a/b/memory.usage_in_bytes": "1\n",
            f"{ROOT}/memory/a/memory.limit_in_bytes": "268435456\n",
            f"{ROOT}/memory/a/memory.usage_in_bytes": "5242880\n",
        },
        268435456,
    ),
    "hybrid": (
        HYBRID.format(path="/a"),
        {
            f"{ROOT}/memory/a/memory.limit_in_bytes": "536870912\n",
            f"{ROOT}/memory/a/memory.usage_in_bytes": "5242880\n",
        },
        536870912,
    ),
}
"""Likewise, and how many octets they allow."""


def put(root: Path, groups: str, files: Files) -> None:
    (root / ROOT).mkdir(parents=True)
    for pid in ("self", "7"):
        files = {**files, f"proc/{pid}/cgroup": groups, f"proc/{pid}/limits": LIMITS}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize("name", QUOTAS)
def test_the_least_quota_counts(tmp_path: Path, name: str) -> None:
    groups, files, cores = QUOTAS[name]
    put(tmp_path, groups, files)
    found = [each.read_quota() for each in list_groups("cpu", tmp_path)]
    quotas = [each for each in found if each is not None]
    assert min(quotas, default=None) == cores


@pytest.mark.parametrize("name", QUOTAS)
def test_there_are_so_many_workers(tmp_path: Path, name: str) -> None:
    """A part of a core counts as one: 0.5 are one worker, 1.5 are two."""
    groups, files, cores = QUOTAS[name]
    put(tmp_path, groups, files)
    expected = AFFINITY if cores is None else min(AFFINITY, -int(-cores // 1))
    assert count_cpus(tmp_path) == expected


@pytest.mark.parametrize("name", [name for name, row in QUOTAS.items() if row[0]])
def test_doctor_names_the_quota(tmp_path: Path, name: str) -> None:
    groups, files, cores = QUOTAS[name]
    put(tmp_path, groups, files)
    _, quota, _ = examine_bounds(7, 4, None, tmp_path)
    unit = "core" if cores == 1 else "cores"
    expected = "none" if cores is None else f"{cores:g} {unit} for 4 workers"
    assert quota.seen == expected
    assert quota.verdict == ("ok" if cores is None else "warn")


@pytest.mark.parametrize("name", MEMORY)
def test_the_least_bound_of_memory_counts(tmp_path: Path, name: str) -> None:
    groups, files, bound = MEMORY[name]
    put(tmp_path, groups, files)
    found = [each.read_memory_limit() for each in list_groups("memory", tmp_path)]
    assert min((each for each in found if each is not None), default=None) == bound
    _, _, memory = examine_bounds(7, 4, None, tmp_path)
    mib = f" of {bound >> 20}.0 MiB in use" if bound else "none"
    assert memory.seen.endswith(mib)


@pytest.mark.parametrize("version", [1, 2])
def test_throttling_is_told(tmp_path: Path, version: int) -> None:
    folder = f"{ROOT}/cpu,cpuacct" if version == 1 else ROOT
    stat = "nr_periods 100\nnr_throttled 30\nthrottled_time 12345\n"
    files = quota_v1(folder, "800000") | {f"{ROOT}/cpu.max": "800000 100000\n"}
    groups = V1.format(path="/") if version == 1 else "0::/\n"
    put(tmp_path, groups, files | {f"{folder}/cpu.stat": stat})
    _, quota, _ = examine_bounds(7, 4, None, tmp_path)
    assert quota.seen == "8 cores for 4 workers; throttled in 30% of all periods"


@pytest.mark.slow
def test_half_a_core_of_this_machine_is_one_worker() -> None:
    """In a group that is made here, of version 1."""
    group = Path("/", ROOT, "cpu", f"blazeio-test-{os.getpid()}")
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
    except OSError as error:
        pytest.skip(f"no control group can be made: {error.strerror}")
    module = "blazeio_supervisor.config.environment"
    code = f"from {module} import count_cpus; print(count_cpus())"
    enter = f'echo $$ > {group}/cgroup.procs; exec "$0" -c "$1"'
    try:
        words = ["sh", "-c", enter, sys.executable, code]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == "1\n"
    finally:
        group.rmdir()
