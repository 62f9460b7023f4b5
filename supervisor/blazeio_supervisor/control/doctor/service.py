"""A running service: what its own master says, and what the kernel says of it."""

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from blazeio_supervisor.control.answers.config import ConfigAnswer
from blazeio_supervisor.control.answers.status import StatusAnswer
from blazeio_supervisor.control.display.sentences import describe_failures
from blazeio_supervisor.control.display.units import format_bytes
from blazeio_supervisor.control.doctor.certificate import read_expiry
from blazeio_supervisor.control.doctor.findings import Finding, hidden, ill, well
from blazeio_supervisor.files.opening import read
from blazeio_supervisor.sockets.address import (
    Endpoint,
    TcpAddress,
    parse_address,
    resolve,
)
from blazeio_supervisor.sockets.holder import count_listeners, find_holders

RENEW_BEFORE = timedelta(days=14)
HANDSHAKE_TIMEOUT_S = 2.0
_SCHEMES = ("http://", "https://")


def examine_service(status: StatusAnswer, config: ConfigAnswer) -> Iterator[Finding]:
    """Look at all of it."""
    settings = {each.key: each.value for each in config.settings}
    yield examine_workers(status)
    yield describe_memory(status)
    yield examine_settings(config)
    yield examine_group(status)
    now = datetime.now(UTC)
    yield from examine_certificates(settings, now)
    for endpoint in list_tls_endpoints(status)[:1]:  # all have the same
        yield examine_served_certificate(endpoint, now)


def describe_memory(status: StatusAnswer) -> Finding:
    """Say how much memory the workers have, as ``status`` and ``top`` measure it."""
    name = "worker memory"
    known = [
        (worker.own_bytes, worker.slot)
        for worker in status.workers
        if worker.own_bytes is not None
    ]
    if not known:
        return hidden(name, "it was not measured yet")
    largest, slot = max(known)
    total = sum(size for size, _ in known)
    seen = (
        f"{format_bytes(total)} of their own (USS), the most in slot {slot}: "
        f"{format_bytes(largest)}"
    )
    return well(name, seen)


def examine_workers(status: StatusAnswer) -> Finding:
    """Whether every slot has a worker that serves."""
    name = "workers"
    wanted = [slot for slot in status.slots if not slot.is_parked]
    failing = [slot for slot in wanted if slot.is_failing]
    late = [worker for worker in status.workers if worker.is_late]
    if failing:
        slot = failing[0]
        return ill(
            name,
            f"slot {slot.slot} {describe_failures(slot)}",
            "Another worker did not mend it; siblings take its queue meanwhile.",
            "the service's log says why",
        )
    if late:
        worker = late[0]
        return ill(
            name,
            f"slot {worker.slot} is blocked for {worker.silent_s:.1f} s",
            "Something in the app does not give the event loop back.",
            f"`stack {worker.slot}` shows the line",
        )
    if status.is_parked:
        return well(name, "parked: nobody serves until `resume` or a reload")
    serving = sum(w.state == "serving" and w.role == "owner" for w in status.workers)
    once = [f"; slot {s.slot} {describe_failures(s)}" for s in wanted if s.failures]
    return well(name, f"{serving} of {len(wanted)} serve{''.join(once[:1])}")


def examine_settings(config: ConfigAnswer) -> Finding:
    """Whether what is written is in force."""
    name = "settings"
    if not config.needs_restart:
        return well(name, "in force as they are written")
    return ill(
        name,
        f"changed since the start: {', '.join(config.needs_restart)}",
        "A reload does not take these over.",
        "restart the service",
    )


def examine_group(status: StatusAnswer) -> Finding:
    """Another process in the same SO_REUSEPORT group takes its part for itself."""
    name = "listening alone"
    endpoints = [each for each in map(read_endpoint, status.addresses) if each]
    if not endpoints:
        return well(name, "no TCP address")
    for endpoint in endpoints:
        count = count_listeners(endpoint)
        if count is None:
            return hidden(name, "/proc/net/tcp")
        if count > len(status.slots):
            holders = [h for h in find_holders(endpoint) if h.pid != status.pid]
            who = ", ".join(map(str, holders)) or "another process"
            return ill(
                name,
                f"port {endpoint.port} is also served by {who}",
                "The kernel gives it a part of the connections.",
                "stop it, or give one of them another port",
            )
    return well(name, "nobody else has its ports")


def examine_certificates(
    settings: Mapping[str, Any], now: datetime
) -> Iterator[Finding]:
    """When those of the command line or of the settings' file end."""
    others = settings.get("other_certificate") or []
    pairs = [settings.get("certfile"), *others]
    for path in (str(pair).partition(",")[0] for pair in pairs if pair):
        yield _examine_certificate(path, now)


def _examine_certificate(path: str, now: datetime) -> Finding:
    name = "certificate"
    try:
        ends_at = read_expiry(read(path, is_judged=False))
    except OSError as error:
        return hidden(name, f"{path}: {error.strerror}")
    except ValueError as error:
        return ill(name, f"{path}: {error}", "A reload would fail.", "put it right")
    return _judge_end(name, path, ends_at, now)


def examine_served_certificate(endpoint: Endpoint, now: datetime) -> Finding:
    """What clients see: an App's own certificate, or one that was read long ago."""
    name = "served certificate"
    where = (endpoint.host, endpoint.port)
    try:
        pem = ssl.get_server_certificate(where, timeout=HANDSHAKE_TIMEOUT_S)
        ends_at = read_expiry(pem.encode())
    except (OSError, ValueError) as error:
        return hidden(name, f"{endpoint.write_url('https')}: {error}")
    return _judge_end(name, endpoint.write_url("https"), ends_at, now)


def list_tls_endpoints(status: StatusAnswer) -> list[Endpoint]:
    """Give the addresses where TLS is spoken."""
    texts = [each for each in status.addresses if each.startswith("https://")]
    return [each for each in map(read_endpoint, texts) if each]


def _judge_end(name: str, what: str, ends_at: datetime, now: datetime) -> Finding:
    if ends_at - now > RENEW_BEFORE:
        days = (ends_at - now).days
        return well(name, f"{what} ends on {ends_at:%Y-%m-%d}, in {days} days")
    is_over = ends_at <= now
    return ill(
        name,
        f"{what} {'ended' if is_over else 'ends'} on {ends_at:%Y-%m-%d %H:%M} UTC",
        "Clients refuse it." if is_over else "Soon clients refuse it.",
        "renew it, then `reload`, which reads it anew",
    )


def read_endpoint(address: str) -> Endpoint | None:
    """Read an address as ``status`` shows it; None: it is a unix socket."""
    for scheme in _SCHEMES:
        if address.startswith(scheme):
            parsed = parse_address(address.removeprefix(scheme))
            return resolve(parsed)[0] if isinstance(parsed, TcpAddress) else None
    return None
