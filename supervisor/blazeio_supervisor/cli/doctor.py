"""The verb ``doctor``: a service as its master and the kernel see it; the report."""

import os
import ssl
import textwrap
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from blazeio.server.tls import read_certificate
from blazeio_supervisor.cli.doctor_machine import (
    Finding,
    Verdict,
    examine_bounds,
    examine_machine,
    ok,
    unknown,
    warn,
)
from blazeio_supervisor.cli.output import describe_failures, format_bytes
from blazeio_supervisor.cli.verbs import ServiceTarget
from blazeio_supervisor.config.processes import DEFAULT_LOOP
from blazeio_supervisor.errors import NotRunningError
from blazeio_supervisor.files import read
from blazeio_supervisor.ipc.control_api import (
    CONFIG,
    STATUS,
    ConfigAnswer,
)
from blazeio_supervisor.ipc.status_api import (
    SCHEMA,
    StatusAnswer,
)
from blazeio_supervisor.sockets.address import (
    TcpAddress,
    TcpEndpoint,
    parse_address,
    resolve,
)
from blazeio_supervisor.sockets.bind import BACKLOG, count_listeners, find_holders

if TYPE_CHECKING:
    from blazeio_supervisor.cli.client import ControlClient

# The report: the schema of ``doctor --json``, and its text.


_WORDS: dict[Verdict, str] = {"ok": "OK", "warn": "WARN", "unknown": "?"}
_INDENT = " " * 6


class DoctorReport(msgspec.Struct, frozen=True, kw_only=True):
    """All findings.

    Attributes:
        pid: The pid of the master that was examined; None: no service runs, and only
            the machine was examined.
    """

    schema: int = SCHEMA
    pid: int | None
    findings: list[Finding]

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong, as far as can be seen."""
        return all(each.verdict != "warn" for each in self.findings)


def format_report(report: DoctorReport, width: int) -> str:
    """Write one line for each finding, and more where something is wrong."""
    if report.pid is None:
        lines = ["No service is running: the machine alone is looked at.", ""]
    else:
        lines = [f"The service of pid {report.pid}, and its machine:", ""]
    size = max((len(each.name) for each in report.findings), default=0)
    for each in report.findings:
        lines.append(f"{_WORDS[each.verdict]:4}  {each.name.ljust(size)}  {each.seen}")
        lines += _wrap(each.meaning, width)
        lines += _wrap(f"Fix: {each.remedy}" if each.remedy else "", width)
    return "\n".join([*lines, "", _count(report.findings)])


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        max(width, 40),
        initial_indent=_INDENT,
        subsequent_indent=_INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _count(findings: Sequence[Finding]) -> str:
    bad = sum(each.verdict == "warn" for each in findings)
    unseen = sum(each.verdict == "unknown" for each in findings)
    noun = "problem" if bad == 1 else "problems"
    text = f"{bad or 'no'} {noun} found"
    return f"{text}, {unseen} not visible" if unseen else text


# What is examined.


def examine(target: ServiceTarget) -> DoctorReport:
    """Examine the service, if one runs, and the machine.

    Raises:
        SupervisorError: The service that was named is not there, or does not answer.
    """
    try:
        client = target.find()
    except NotRunningError:
        # Whoever has named a service has to hear that it is not there. Without a name
        # the machine alone is worth an examination, before a first start.
        if target.is_named:
            raise
        return DoctorReport(pid=None, findings=_examine_machine_alone())
    return _examine_both(client)


def _examine_machine_alone() -> list[Finding]:
    return [
        *examine_machine(BACKLOG, (), DEFAULT_LOOP),
        *examine_bounds(os.getpid(), 1, None),
    ]


def _examine_both(client: "ControlClient") -> DoctorReport:
    status = client.ask(STATUS)
    config = client.ask(CONFIG)
    settings = {each.key: each.value for each in config.settings}
    pids = [each.pid for each in status.workers if each.pid is not None]
    wanted = sum(not slot.is_parked for slot in status.slots)
    ports = [endpoint.port for endpoint in list_endpoints(status)]
    loop = str(settings.get("loop") or DEFAULT_LOOP)
    return DoctorReport(
        pid=status.pid,
        findings=[
            *examine_service(status, config),
            # A service of another version may not have told this setting.
            *examine_machine(int(settings.get("backlog") or BACKLOG), ports, loop),
            *examine_bounds(
                # The bounds of a worker count: it holds the connections, and runs
                # perhaps as another user than the master.
                pids[0] if pids else status.pid,
                wanted,
                settings.get("max_connections"),
            ),
        ],
    )


# The service.


RENEW_BEFORE = timedelta(days=14)
HANDSHAKE_TIMEOUT_S = 2.0


def examine_service(status: StatusAnswer, config: ConfigAnswer) -> Iterator[Finding]:
    """Examine all that the service says, and its certificates."""
    settings = {each.key: each.value for each in config.settings}
    yield examine_workers(status)
    yield describe_memory(status)
    yield examine_settings(config)
    yield examine_group(status)
    now = datetime.now(UTC)
    yield from examine_certificates(settings, now, config.folder)
    for endpoint in list_endpoints(status, ("https",))[:1]:  # all have the same
        yield examine_served_certificate(endpoint, now)


def describe_memory(status: StatusAnswer) -> Finding:
    """Report the memory of the workers, as ``status`` and ``top`` measure it."""
    name = "worker memory"
    known = [
        (worker.own_bytes, worker.slot)
        for worker in status.workers
        if worker.own_bytes is not None
    ]
    if not known:
        return unknown(name, "it was not measured yet")
    largest, slot = max(known)
    total = sum(size for size, _ in known)
    seen = (
        f"{format_bytes(total)} of their own (USS), the most in slot {slot}: "
        f"{format_bytes(largest)}"
    )
    return ok(name, seen)


def examine_workers(status: StatusAnswer) -> Finding:
    """Examine whether every slot has a worker that serves."""
    name = "workers"
    wanted = [slot for slot in status.slots if not slot.is_parked]
    failing = [slot for slot in wanted if slot.is_failing]
    late = [worker for worker in status.workers if worker.is_late]
    # Before what is late: a slot whose workers fail has nobody who could be late.
    if failing:
        slot = failing[0]
        return warn(
            name,
            f"slot {slot.slot} {describe_failures(slot)}",
            "New workers fail as well; siblings take its queue meanwhile.",
            f"`events --since 10m` says why; fix the app, then `recycle {slot.slot}`",
        )
    if late:
        worker = late[0]
        return warn(
            name,
            f"slot {worker.slot} is blocked for {worker.silent_s:.1f} s",
            "Something in the app does not give the event loop back.",
            f"`recycle {worker.slot}` replaces it; `stack {worker.slot}` tells where",
        )
    if status.is_parked:
        return ok(name, "parked: nobody serves until `resume` or a reload")
    serving = sum(w.state == "serving" and w.role == "owner" for w in status.workers)
    once = [f"; slot {s.slot} {describe_failures(s)}" for s in wanted if s.failures]
    return ok(name, f"{serving} of {len(wanted)} serve{''.join(once[:1])}")


def examine_settings(config: ConfigAnswer) -> Finding:
    """Examine whether the settings that are written down are in force."""
    name = "settings"
    if not config.needs_restart:
        return ok(name, "in force as they are written")
    return warn(
        name,
        f"changed since the start: {', '.join(config.needs_restart)}",
        "A reload does not take these over.",
        "systemctl restart, or `stop` and a start",
    )


def examine_group(status: StatusAnswer) -> Finding:
    """Examine whether another process is in the same SO_REUSEPORT group."""
    name = "listening alone"
    endpoints = list_endpoints(status)
    if not endpoints:
        return ok(name, "no TCP address")
    for endpoint in endpoints:
        count = count_listeners(endpoint)
        if count is None:
            return unknown(name, "/proc/net/tcp")
        # More sockets than slots listen at the port. The kernel lets another process in
        # only if it has the same effective user (socket(7), SO_REUSEPORT), so this is
        # our own: a second service, or an orphan of an earlier one.
        if count > len(status.slots):
            holders = [h for h in find_holders(endpoint) if h.pid != status.pid]
            who = ", ".join(map(str, holders)) or "another process"
            return warn(
                name,
                f"port {endpoint.port} is also served by {who}",
                "The kernel gives it a part of the connections.",
                "stop it, or give one of them another port",
            )
    return ok(name, "no other process uses its ports")


def examine_certificates(
    settings: Mapping[str, Any], now: datetime, folder: str
) -> Iterator[Finding]:
    """Examine when the certificates of the settings end.

    Args:
        settings: By key, as the service has them.
        now: The time now.
        folder: Where relative paths of the service start; "" when it does not say so.
    """
    others = settings.get("other_certificate") or []
    pairs = [settings.get("certfile"), *others]
    for path in (str(pair).partition(",")[0] for pair in pairs if pair):
        if folder or os.path.isabs(path):
            yield _examine_certificate(os.path.join(folder, path), now)
        else:
            yield unknown("certificate", f"{path}: a service of another version")


def _examine_certificate(path: str, now: datetime) -> Finding:
    name = "certificate"
    try:
        # Who may write the file does not matter here: the service judges that when it
        # reads it.
        ends_at = read_expiry(read(path, is_judged=False))
    except OSError as error:
        return unknown(name, f"{path}: {error.strerror}")
    except ValueError as error:
        return warn(
            name,
            f"{path}: {error}",
            "A reload would fail.",
            "correct the file, then `reload`",
        )
    return _judge_end(name, path, ends_at, now)


def read_expiry(octets: bytes) -> datetime:
    """Return the end of the first certificate of a PEM file: the server's own.

    Raises:
        ValueError: There is none, or it cannot be read.
    """
    try:
        certificate = read_certificate(octets.decode("ascii", "replace"))
    except ValueError as error:
        raise ValueError("its certificate cannot be read") from error
    if certificate is None:
        raise ValueError("no certificate in it")
    return certificate.ends_at


def examine_served_certificate(endpoint: TcpEndpoint, now: datetime) -> Finding:
    """Examine the certificate that clients get, which may be an App's own."""
    name = "served certificate"
    where = (endpoint.host, endpoint.port)
    try:
        # Without verification: what counts is the date, also of a certificate of one's
        # own.
        pem = ssl.get_server_certificate(where, timeout=HANDSHAKE_TIMEOUT_S)
        ends_at = read_expiry(pem.encode())
    except (OSError, ValueError) as error:
        return unknown(name, f"{endpoint.write_url('https')}: {error}")
    return _judge_end(name, endpoint.write_url("https"), ends_at, now)


def _judge_end(name: str, what: str, ends_at: datetime, now: datetime) -> Finding:
    if ends_at - now > RENEW_BEFORE:
        days = (ends_at - now).days
        return ok(name, f"{what} ends on {ends_at:%Y-%m-%d}, in {days} days")
    is_over = ends_at <= now
    return warn(
        name,
        f"{what} {'ended' if is_over else 'ends'} on {ends_at:%Y-%m-%d %H:%M} UTC",
        "Clients refuse it." if is_over else "Soon clients refuse it.",
        "renew it, then `reload`, which reads it again",
    )


def list_endpoints(
    status: StatusAnswer, schemes: Container[str] = ("http", "https")
) -> list[TcpEndpoint]:
    """Read the addresses that ``status`` shows; without unix sockets.

    Args:
        status: Of the service.
        schemes: ``https`` alone: where TLS is spoken.
    """
    split = (each.partition("://") for each in status.addresses)
    parsed = [parse_address(rest) for scheme, _, rest in split if scheme in schemes]
    return [resolve(each)[0] for each in parsed if isinstance(each, TcpAddress)]
