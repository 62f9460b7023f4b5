from pathlib import Path

import pytest

from blazeio_supervisor.config.environment import ControlGroup
from blazeio_supervisor.master.resources import (
    FORGET_AFTER_S,
    OOM_REASON,
    OomKills,
    watch_own_group,
)

V2 = "0::/system.slice/app.service\n"
V1 = "9:name=systemd:/\n4:memory:/app\n0::/\n"


def write(path: Path, count: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"low 0\nhigh 0\nmax 9\noom 3\noom_kill {count}\n")
    return path


@pytest.fixture
def counter(tmp_path: Path) -> Path:
    return write(tmp_path / "memory.events", 3)


@pytest.fixture
def kills(counter: Path) -> OomKills:
    return OomKills(ControlGroup(counter.parent, 2))


@pytest.mark.parametrize(
    ("groups", "place"),
    [
        (V2, "sys/fs/cgroup/system.slice/app.service/memory.events"),
        (V2, "sys/fs/cgroup/unified/system.slice/app.service/memory.events"),
        # Of a service whose memory is not accounted for.
        (V2, "sys/fs/cgroup/system.slice/memory.events"),
        # Of a container that shares the name space of groups with the host.
        (V2, "sys/fs/cgroup/memory.events"),
        (V1, "sys/fs/cgroup/memory/app/memory.oom_control"),
        (V1, "sys/fs/cgroup/memory/memory.oom_control"),
        ("0::/\n", "sys/fs/cgroup/memory.events"),
    ],
)
def test_the_counter_is_that_of_the_own_group_or_around_it(
    tmp_path: Path, groups: str, place: str
) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    write(tmp_path / place, 0)
    kills = watch_own_group(tmp_path)
    write(tmp_path / place, 1)
    assert kills.explain(-9) == OOM_REASON


def test_the_innermost_counter_counts(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(V2)
    write(tmp_path / "sys/fs/cgroup/system.slice/app.service/memory.events", 0)
    kills = watch_own_group(tmp_path)
    write(tmp_path / "sys/fs/cgroup/system.slice/memory.events", 1)
    assert not kills.explain(-9)


def test_each_kill_of_the_kernel_is_claimed_once(
    kills: OomKills, counter: Path
) -> None:
    assert not kills.explain(-9)
    write(counter, 5)
    assert [kills.explain(-9) for _ in range(3)] == [OOM_REASON, OOM_REASON, ""]


@pytest.mark.parametrize("status", [0, 9, 137, -15])
def test_only_a_sigkill_is_claimed(kills: OomKills, counter: Path, status: int) -> None:
    write(counter, 5)
    assert not kills.explain(status)


def test_an_old_kill_of_somebody_else_is_forgotten(
    kills: OomKills, counter: Path
) -> None:
    kills.refresh(100.0)
    write(counter, 4)
    kills.refresh(100.0 + FORGET_AFTER_S)  # seen; may still be a worker's
    kills.refresh(100.1 + FORGET_AFTER_S)  # too soon
    assert kills.explain(-9)
    write(counter, 5)
    kills.refresh(100.0 + 2 * FORGET_AFTER_S)
    kills.refresh(100.0 + 3 * FORGET_AFTER_S)
    assert not kills.explain(-9)


@pytest.mark.parametrize("text", [None, "oom_kill_disable 0\nunder_oom 0\n"])
def test_without_a_count_nothing_is_claimed(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "memory.events"
    if text is not None:
        path.write_text(text)
    assert not OomKills(ControlGroup(tmp_path, 2)).explain(-9)
    assert not OomKills(None).explain(-9)


def test_in_this_process_nothing_was_killed() -> None:
    assert not watch_own_group().explain(-9)
