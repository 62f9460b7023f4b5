import errno
import socket
import sys
from pathlib import Path

import pytest

from blazeio.wire import IS_COMPILED
from blazeio_supervisor.cli import doctor_machine as machine
from blazeio_supervisor.cli.doctor_machine import (
    describe_parser,
    examine_backlog,
    examine_clock,
    examine_huge_pages,
    examine_machine,
    examine_migration,
    examine_ports,
    examine_python,
    examine_steering,
    examine_syncookies,
)

SYS = "proc/sys/net/ipv4"
THP = "sys/kernel/mm/transparent_hugepage/enabled"
CLOCK = "sys/devices/system/clocksource/clocksource0/current_clocksource"


def put(root: Path, where: str, text: str) -> Path:
    path = root / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")
    return root


@pytest.mark.parametrize(
    ("somaxconn", "verdict"), [("4096", "ok"), ("2048", "ok"), ("128", "warn")]
)
def test_the_backlog_is_cut_by_somaxconn(
    tmp_path: Path, somaxconn: str, verdict: str
) -> None:
    put(tmp_path, "proc/sys/net/core/somaxconn", somaxconn)
    finding = examine_backlog(tmp_path, 2048)
    assert finding.verdict == verdict
    assert ("sysctl -w net.core.somaxconn=2048" in finding.remedy) is (
        verdict == "warn"
    )


@pytest.mark.parametrize(("text", "verdict"), [("1", "ok"), ("0", "warn")])
def test_cookies_should_be_on(tmp_path: Path, text: str, verdict: str) -> None:
    put(tmp_path, f"{SYS}/tcp_syncookies", text)
    assert examine_syncookies(tmp_path).verdict == verdict


@pytest.mark.parametrize(("text", "state"), [("1", "on"), ("0", "off")])
def test_migration_is_told_and_never_wrong(
    tmp_path: Path, text: str, state: str
) -> None:
    put(tmp_path, f"{SYS}/tcp_migrate_req", text)
    finding = examine_migration(tmp_path)
    assert (finding.verdict, finding.seen.split(";")[0]) == ("ok", state)


@pytest.mark.parametrize(
    ("text", "port", "verdict"),
    [
        ("32768\t60999", 8000, "ok"),
        ("32768\t60999", 40000, "warn"),
        ("60000\t60999", 8000, "warn"),
    ],
)
def test_a_port_of_ours_should_not_be_an_ephemeral_one(
    tmp_path: Path, text: str, port: int, verdict: str
) -> None:
    put(tmp_path, f"{SYS}/ip_local_port_range", text)
    assert examine_ports(tmp_path, [port]).verdict == verdict


def test_steering_is_tried_out() -> None:
    assert examine_steering().verdict == "ok"


def test_steering_that_is_refused_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(machine, "pick_always", refuse)
    finding = examine_steering()
    assert (finding.verdict, finding.seen) == (
        "warn",
        "refused: Operation not permitted",
    )


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("always [madvise] never", "ok"), ("[always] madvise never", "warn")],
)
def test_huge_pages_should_not_be_everywhere(
    tmp_path: Path, text: str, verdict: str
) -> None:
    assert examine_huge_pages(put(tmp_path, THP, text)).verdict == verdict


@pytest.mark.parametrize(
    ("text", "verdict"), [("tsc", "ok"), ("kvm-clock", "ok"), ("hpet", "warn")]
)
def test_the_clock_should_be_a_fast_one(
    tmp_path: Path, text: str, verdict: str
) -> None:
    assert examine_clock(put(tmp_path, CLOCK, text)).verdict == verdict


def test_python_and_its_loop_are_named() -> None:
    finding = examine_python("uvloop")
    assert finding.verdict == "ok"
    assert finding.seen.endswith(f"{sys.version_info[2]}, uvloop")
    assert examine_python("asyncio").verdict == "warn"


def test_it_is_told_whether_the_parser_is_compiled() -> None:
    finding = describe_parser()
    assert (finding.name, finding.verdict) == ("HTTP parser", "ok")
    assert finding.seen == ("compiled" if IS_COMPILED else "Python")


def test_a_debug_mode_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    assert "PYTHONASYNCIODEBUG set" in examine_python("uvloop").seen


def test_where_nothing_is_visible_nothing_is_wrong(tmp_path: Path) -> None:
    findings = list(examine_machine(2048, [8000], "uvloop", tmp_path))
    hidden = [each for each in findings if each.verdict == "unknown"]
    assert len(hidden) == 6
    assert all(each.seen.startswith("not visible here (") for each in hidden)
    assert all(each.verdict != "warn" for each in findings)


def test_this_machine_can_be_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        names = [each.name for each in examine_machine(2048, [port], "uvloop")]
    assert len(set(names)) == len(names) == 9
