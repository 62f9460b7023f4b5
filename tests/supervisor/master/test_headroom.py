"""What is free: by control groups of both versions, and by the machine."""

from pathlib import Path

import pytest

from blazeio_supervisor.fleet.facts import Fact, MemoryRead
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.master.resources import (
    LoadWatch,
    read_free_bytes,
)
from blazeio_supervisor.sockets.listeners import Listeners

MIB = 1024 * 1024


def write(root: Path, files: dict[str, object]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


MACHINE = {"proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable: 1024000 kB\n"}
V2 = "sys/fs/cgroup"
V1 = "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "free_mib"),
    [
        ({}, None),
        (MACHINE, 1000),
        ({**MACHINE, "proc/self/cgroup": "0::/web\n"}, 1000),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "0::/web\n",
                f"{V2}/web/memory.max": 300 * MIB,
                f"{V2}/web/memory.current": 250 * MIB,
                f"{V2}/web/memory.stat": f"anon 5\ninactive_file {20 * MIB}\n",
            },
            70,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "0::/system.slice/web.service\n",
                f"{V2}/system.slice/web.service/memory.max": "max\n",
                f"{V2}/system.slice/web.service/memory.current": 250 * MIB,
                f"{V2}/system.slice/memory.max": 400 * MIB,
                f"{V2}/system.slice/memory.current": 390 * MIB,
            },
            10,
        ),
        (  # a container sees its own group at the mount, whatever the path says
            {
                **MACHINE,
                "proc/self/cgroup": "0::/../../kubepods/pod1\n",
                f"{V2}/memory.max": 300 * MIB,
                f"{V2}/memory.current": 310 * MIB,
            },
            0,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "5:cpu,cpuacct:/a\n4:memory:/docker/ab\n0::/\n",
                f"{V1}/memory.limit_in_bytes": 100 * MIB,
                f"{V1}/memory.usage_in_bytes": 60 * MIB,
                f"{V1}/memory.stat": f"total_inactive_file {5 * MIB}\n",
            },
            45,
        ),
        (
            {
                **MACHINE,
                "proc/self/cgroup": "4:memory:/\n",
                f"{V1}/memory.limit_in_bytes": 9223372036854771712,
                f"{V1}/memory.usage_in_bytes": 60 * MIB,
            },
            1000,
        ),
        ({**MACHINE, "proc/meminfo": "nonsense"}, None),
    ],
)
def test_the_least_of_what_is_free_counts(
    tmp_path: Path, files: dict[str, object], free_mib: int | None
) -> None:
    free = read_free_bytes(write(tmp_path, files))
    assert free == (None if free_mib is None else free_mib * MIB)


def test_on_this_machine_something_is_free() -> None:
    free = read_free_bytes()
    assert free is not None
    assert free > 0


def test_only_what_the_planner_wants_is_read_and_now_and_then() -> None:
    facts: list[Fact] = []
    planner = Planner(Policy(), 1)
    watch = LoadWatch(planner, {}, Listeners(1), facts.append)
    for now in (1.0, 1.1, 2.9):
        watch.look(now)
    assert [type(fact) for fact in facts] == [MemoryRead]
    watch.look(3.0)
    assert len(facts) == 2
    planner.policy = Policy(most_workers=3)  # where the load decides, more often
    watch.look(3.1)
    assert len(facts) == 2
    watch.look(3.25)
    assert len(facts) == 3
