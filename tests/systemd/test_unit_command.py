"""The unit that ``blazeio-supervisor unit`` makes of a command."""

from tests.process.service import APP
from tests.systemd.machine import Machine


def test_a_command_becomes_a_unit_that_runs_it(machine: Machine) -> None:
    machine.add_app("typed", APP)
    program = "/opt/blazeio/typed/bin/blazeio-supervisor"
    words = "app:web --bind 127.0.0.1:8000 --workers 1 --canary-hold 0 --name shop"
    script = f"cd /srv/typed && {program} unit {words} --install --yes"
    machine.run("sh", "-ec", script)
    python = "[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n"
    machine.add_drop_in("shop.service", "interpreter.conf", python)
    units = [f"/etc/systemd/system/shop.{kind}" for kind in ("service", "socket")]
    done = machine.run("systemd-analyze", "verify", "--recursive-errors=one", *units)
    assert done.stderr == ""
    machine.systemctl("start", "shop")
    assert int(machine.get("http://127.0.0.1:8000/")) > 0
    machine.systemctl("reload", "shop")
    assert machine.systemctl("is-active", "shop").strip() == "active"
    assert (
        "reloaded: generation 2 serves"
        in machine.run("journalctl", "-u", "shop").stdout
    )
