"""The verb that looks for what could be better."""

import os
import shutil

from blazeio_supervisor.control.answers.config import ConfigAnswer
from blazeio_supervisor.control.answers.status import StatusAnswer
from blazeio_supervisor.control.client import Client, NotRunningError
from blazeio_supervisor.control.doctor.bounds import examine_bounds
from blazeio_supervisor.control.doctor.findings import (
    Finding,
    Report,
    format_report,
)
from blazeio_supervisor.control.doctor.machine import examine_machine
from blazeio_supervisor.control.doctor.service import examine_service, read_endpoint
from blazeio_supervisor.control.verbs.declaring import Target, show, verb
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.sockets.opening import BACKLOG

_LOOP = "uvloop"


@verb()
def doctor(target: Target, is_json: bool) -> int:
    """Look at the machine, and at the service if one runs: what could be better.

    Each finding says what follows from it and how to mend it. Exit code 1: there
    is something to mend. What cannot be seen from here is not counted.
    """
    report = _examine(target)
    width = shutil.get_terminal_size().columns
    show(report, is_json, lambda given: format_report(given, width))
    return ExitCode.OK if report.is_well else ExitCode.CRASHED


def _examine(target: Target) -> Report:
    try:
        client = target.find()
    except NotRunningError:
        if target.is_said:
            raise
        return Report(pid=None, findings=_examine_machine_alone())
    return _examine_all(client)


def _examine_machine_alone() -> list[Finding]:
    return [
        *examine_machine(BACKLOG, (), _LOOP),
        *examine_bounds(os.getpid(), 1, None),
    ]


def _examine_all(client: Client) -> Report:
    status = client.ask("GET", "/status", StatusAnswer)
    config = client.ask("GET", "/config", ConfigAnswer)
    settings = {each.key: each.value for each in config.settings}
    endpoints = [each for each in map(read_endpoint, status.addresses) if each]
    pids = [each.pid for each in status.workers if each.pid is not None]
    wanted = sum(not slot.is_parked for slot in status.slots)
    ports = [endpoint.port for endpoint in endpoints]
    loop = str(settings.get("loop") or _LOOP)
    return Report(
        pid=status.pid,
        findings=[
            *examine_service(status, config),
            *examine_machine(int(settings.get("backlog") or BACKLOG), ports, loop),
            *examine_bounds(
                pids[0] if pids else status.pid,
                wanted,
                settings.get("max_connections"),
            ),
        ],
    )
