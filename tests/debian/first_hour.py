"""README and tutorial, word for word, by somebody who has a fresh Debian 12.

The tests are collected by a file for each kind of user, so that both run at once.
"""

import re
import subprocess
import tempfile

import pytest

from tests.debian.machine import Machine
from tests.support.clock import scaled

IN_FIVE_MINUTES_S = 300.0
"""What README says of the way to one's own app, served and reloaded."""
OF_USER_AND_PLACE = (
    "tests/process/test_container.py",
    "tests/process/test_control.py",
    "tests/process/test_files_of_others.py",
    "tests/process/test_hostile_worker.py",
    "tests/process/test_privileges.py",
    "tests/deploy",
    "tests/examples/test_foreign_clients.py",
    "tests/examples/test_upload.py",
    "tests/supervisor/config",
    "tests/wire",
)
"""What depends on the user, on the place of the clone and on what is installed."""
in_both = pytest.mark.parametrize(
    "has_terminal", [False, True], ids=["without-terminal", "in-a-terminal"]
)


PAGES = ("README.md", "docs/tutorial/index.md")


class FirstHour:
    """What each of them does, one after the other, on one machine."""

    @in_both
    def test_make_run_serves(self, machine: Machine, has_terminal: bool) -> None:
        command = machine.command("cd blazeio && make run", has_terminal=has_terminal)
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log
            ) as serving,
        ):
            try:
                asked = "curl -sS --retry 300 --retry-delay 1 --retry-connrefused"
                told = machine.type(f"{asked} http://127.0.0.1:8000/ 2>/dev/null")
                assert told == '{"hello":"world"}'
                if has_terminal:
                    serving.communicate(b"\x03", scaled(40))
                else:
                    machine.type("blazeio/.venv/bin/blazeio-supervisor stop")
                    assert serving.wait(scaled(40)) == 0
            finally:
                serving.kill()
                log.seek(0)
                print(log.read().decode(errors="backslashreplace"))

    @in_both
    def test_make_test_passes(self, machine: Machine, has_terminal: bool) -> None:
        """The whole of it takes too long twice; this is what failed, and some."""
        chosen = OF_USER_AND_PLACE if not has_terminal else ("tests/wire",)
        typed = f"cd blazeio && make test ARGS='{' '.join(chosen)}'"
        told = machine.type(typed, has_terminal=has_terminal)
        assert re.search(r"\d+ passed", told), told
        assert "failed" not in told
        if not has_terminal:
            assert "wget is missing: apt-get install wget" in told

    @in_both
    @pytest.mark.parametrize("page", PAGES)
    def test_a_page_works_as_it_is_written(
        self, machine: Machine, page: str, has_terminal: bool
    ) -> None:
        options = "--newcomer --terminal" if has_terminal else "--newcomer"
        machine.type("rm -rf trial")
        python = "cd blazeio && .venv/bin/python -m tests.documents.try"
        machine.type("cd blazeio && make .venv/.stamp-run")
        told = machine.type(f"{python} {options} {page}")
        took = re.search(rf"^ok {page} (\d+\.\d) s$", told, re.MULTILINE)
        assert took, told
        if page == "README.md":
            assert float(took[1]) < IN_FIVE_MINUTES_S
