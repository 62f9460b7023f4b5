"""The package on the disk is replaced under a running service."""

import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from blazeio_supervisor.ipc.protocol import find_protocol
from tests.process.installation import Installation
from tests.process.service import Service, start_service
from tests.support.clock import block_until
from tests.support.live import LiveServers, run_to_exit

pytestmark = pytest.mark.slow
FAILED = 1


def reload_and_wait(service: Service) -> subprocess.CompletedProcess[str]:
    place = str(service.folder / "c.sock")
    verb = ["blazeio-supervisor", "reload", "--wait", "--control", place]
    return run_to_exit(verb, timeout_s=30)


def wait_for_respawn(service: Service) -> None:
    """Kill a worker; the forkserver of the old code forks its successor."""
    killed = service.pids()[0]
    psutil.Process(killed).kill()
    service.wait_for(
        lambda workers: (
            len(workers) == 2 and killed not in {pid for _, pid in workers.values()}
        ),
        "a successor",
    )
    service.wait_everybody_answers()


@pytest.mark.long
def test_only_a_package_of_the_same_protocol_takes_over(
    live_server: LiveServers, tmp_path: Path
) -> None:
    installed = Installation(tmp_path / "site")
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", env=installed.env
    )
    before = service.workers()
    file = "ipc/messages.py"

    installed.change(
        file, "    generation: int\n", "    generation: int\n    new: int\n"
    )
    done = reload_and_wait(service)
    assert (done.returncode, done.stdout) == (FAILED, "")
    line = (
        r"blazeio-supervisor: reload failed, after \S+ s: .*the installed blazeio "
        r"\(\S+, protocol [0-9a-f]{8}\) differs from the running master's \(protocol "
        rf"{find_protocol()}\): restart the service to use it\n"
    )
    assert re.fullmatch(line, done.stderr), done.stderr
    assert service.workers() == before
    wait_for_respawn(service)
    assert "Traceback" not in service.server.log

    installed.append(file, "raise ImportError('half installed')")
    done = reload_and_wait(service)
    assert done.returncode == FAILED
    assert "blazeio itself could not be started, the log has why" in done.stderr
    service.server.wait_for_log("ImportError: half installed")

    installed.mend()
    assert reload_and_wait(service).returncode == 0
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0


def test_what_is_asked_for_later_comes_from_the_image_that_is_kept(
    live_server: LiveServers, tmp_path: Path
) -> None:
    """Of the installed packages nothing can be imported any more."""
    installed = Installation(tmp_path / "site")
    service = start_service(
        live_server, tmp_path, "--control", "c.sock", env=installed.env
    )
    service.wait_kept()
    installed.ruin()
    for words in (
        ["status"],
        ["metrics"],
        ["config"],
        ["stack", "0"],
        ["scale", "3", "--wait"],
        ["recycle", "0", "--wait"],
    ):
        place = str(service.folder / "c.sock")
        verb = ["blazeio-supervisor", *words, "--control", place]
        done = run_to_exit(verb, timeout_s=30)
        assert done.returncode == 0, done.stderr
    done = reload_and_wait(service)
    assert done.returncode == FAILED
    assert "blazeio itself could not be started" in done.stderr
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0


def test_once_it_is_ready_no_process_imports_anything(
    live_server: LiveServers, tmp_path: Path
) -> None:
    env = {"PYTHONPROFILEIMPORTTIME": "1"}
    # A place of its own: another service that finds the name taken asks whose it is,
    # and the first one who asks has the answers imported, from the image.
    service = start_service(live_server, tmp_path, "--control", "c.sock", env=env)

    def list_imports() -> list[str]:
        found = re.findall(r"^import time: .*$", service.server.log, re.MULTILINE)
        # The master takes it from its image, to know whom a dead worker has started;
        # what of the standard library only psutil needs is in there as well.
        its = "psutil|(resource|base64|binascii)$"
        return [line for line in found if not re.search(its, line)]

    service.wait_everybody_answers()
    # Its child has imported all that the master may need later.
    service.wait_kept()
    before = list_imports()
    assert any(line.endswith("| uvloop") for line in before)
    wait_for_respawn(service)
    assert service.get("/fail").status == 500
    service.server.signal(signal.SIGTTIN)
    service.wait_count(3)
    service.server.signal(signal.SIGTTOU)
    service.wait_count(2)
    service.server.signal(signal.SIGTERM)
    assert service.server.wait_exit() == 0
    block_until(lambda: not service.server.group())
    assert list_imports() == before
