"""A machine with a real systemd, in namespaces of this one.

``boot.sh`` boots it in half a second; nothing of this machine's disk changes. An
app gets what the unit expects: a virtual environment in ``/opt/blazeio/NAME`` and
settings in ``/etc/blazeio/NAME.toml``. Both are made of the environment under test:
its interpreter is seen at ``/opt/python``, its packages at ``/opt/packages``, the
repository at ``/opt/source``.
"""

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.clock import block_until, scaled
from tests.support.tree import REPOSITORY

UNITS = REPOSITORY / "systemd"
_BOOT = Path(__file__).with_name("boot.sh")
_BOOT_S = 60.0
_COMMAND_S = 60.0
_PATHS = ("/opt/packages", "/opt/source", "/opt/source/supervisor")
_PROGRAM = """#!/opt/blazeio/{name}/bin/python
import sys
from blazeio_supervisor.__main__ import main
sys.exit(main())
"""


@cache
def why_not() -> str:
    """Why no systemd can be booted here; "" when it can."""
    done = subprocess.run(
        ["bash", str(_BOOT), "check"], capture_output=True, text=True, check=False
    )
    return "" if done.returncode == 0 else done.stderr.strip()


@dataclass
class Visits:
    """What became of visitors.

    Attributes:
        answers: How many, by the content of the answer.
        failures: In words.
        longest_s: The longest that one had to wait.
    """

    answers: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    longest_s: float = 0.0


class Machine:
    """One booted systemd; use it in a ``with``.

    Args:
        name: Unique on this machine; lower case.
        folder: For what it sees of this machine.
        base: Another root file system, with another systemd.
        net: ``private``, or ``host``: what listens on loopback there, does here.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        base: str | None = os.environ.get("BLAZEIO_TEST_SYSTEMD_ROOT"),
        net: str = "private",
    ) -> None:
        self._name = f"{name}-{os.getpid()}"
        self._folder = folder
        python = Path(sysconfig.get_config_var("prefix")).resolve()
        binds = {
            python: "/opt/python",
            Path(sysconfig.get_path("purelib")): "/opt/packages",
            REPOSITORY: "/opt/source",
        }
        self._options = ["--die-with", str(os.getpid()), "--net", net]
        if base is not None:
            self._options += ["--base", base]
        for source, target in binds.items():
            self._options += ["--bind-ro", f"{source}:{target}"]
        for inside in ("opt/blazeio", "etc/blazeio", "srv"):
            (folder / inside).mkdir(parents=True, exist_ok=True)
            self._options += ["--bind", f"{folder / inside}:/{inside}"]
        for unit in UNITS.glob("blazeio@.*"):
            self._options += ["--unit", str(unit)]
        # Its own libpython is found by a path that the unit hides.
        found = folder / "interpreter.conf"
        found.write_text("[Service]\nEnvironment=LD_LIBRARY_PATH=/opt/python/lib\n")
        self._options += ["--dropin", "blazeio@.service", str(found)]

    def __enter__(self) -> Self:
        done = subprocess.run(
            ["bash", str(_BOOT), "up", self._name, *self._options],
            env={**os.environ, "BLZ_QUIET": "1"},
            timeout=scaled(_BOOT_S),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"no boot: {done.stderr}"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        command = ["bash", str(_BOOT), "down", self._name]
        subprocess.run(command, check=True, timeout=scaled(_BOOT_S))

    # What is in it

    def add_app(self, name: str, code: str, *settings: str) -> "Unit":
        """Make what the unit of this name starts; it is not started.

        Args:
            name: The instance.
            code: Of ``/srv/NAME/app.py``, with an App ``web``.
            settings: Lines of TOML.
        """
        self._make_environment(name)
        unit = Unit(self, name, self._folder / "srv" / name)
        unit.folder.mkdir()
        unit.write_code(code)
        lines = ['app = "app:web"', f'chdir = "/srv/{name}"', *settings, ""]
        (self._folder / f"etc/blazeio/{name}.toml").write_text("\n".join(lines))
        return unit

    def _make_environment(self, name: str) -> None:
        root = self._folder / "opt/blazeio" / name
        packages = root / "lib" / f"python{sysconfig.get_python_version()}"
        packages = packages / "site-packages"
        packages.mkdir(parents=True)
        (packages / "all.pth").write_text("\n".join(_PATHS))
        (root / "bin").mkdir()
        (root / "pyvenv.cfg").write_text("home = /opt/python/bin\n")
        interpreter = Path(sys.executable).resolve().name
        (root / "bin/python").symlink_to(f"/opt/python/bin/{interpreter}")
        program = root / "bin/blazeio-supervisor"
        program.write_text(_PROGRAM.format(name=name))
        program.chmod(0o755)

    def add_drop_in(self, unit: str, name: str, text: str) -> None:
        """As ``systemctl edit`` does it."""
        script = 'mkdir -p "$1" && cat > "$1/$2" && systemctl daemon-reload'
        folder = f"/etc/systemd/system/{unit}.d"
        self.run("sh", "-c", script, "sh", folder, name, text=text)

    # What is done in it

    def run(
        self, *command: str, text: str = "", may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root."""
        done = subprocess.run(
            self.inside(*command),
            input=text,
            capture_output=True,
            text=True,
            timeout=scaled(_COMMAND_S),
            check=False,
        )
        if done.returncode and not may_fail:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{command}: {done.returncode}\n{said}")
        return done

    @contextmanager
    def visited(self, place: str) -> Iterator[Visits]:
        """Have visitors come to a host:port all the time; see ``visitors.py``."""
        visits = Visits()
        python = ["env", "PYTHONPATH=/opt/source", "/opt/python/bin/python3"]
        words = [*python, "-m", "tests.systemd.visitors", place]
        command = self.inside(*words)
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"here\n"
            yield visits
            output, _ = process.communicate(timeout=scaled(_COMMAND_S))
        said = json.loads(output)
        visits.failures, visits.longest_s = said["failures"], said["longest_s"]
        visits.answers = said["answers"]

    def popen(self, *command: str) -> "subprocess.Popen[bytes]":
        """Begin a command in it; the caller waits for its end."""
        return subprocess.Popen(self.inside(*command), stdout=subprocess.PIPE)

    def inside(self, *command: str) -> list[str]:
        """The command that runs this one in it."""
        # The verbs need the interpreter's library, where the root is another one.
        libraries = ["env", "LD_LIBRARY_PATH=/opt/python/lib"]
        return ["bash", str(_BOOT), "exec", self._name, *libraries, *command]

    def systemctl(self, *words: str) -> str:
        """Its output."""
        return self.run("systemctl", *words).stdout

    def get(self, url: str, *options: str) -> str:
        """The content of an answer."""
        return self.run("curl", "-sS", "--max-time", "20", *options, url).stdout

    @property
    def pid(self) -> int:
        """Of its systemd, here."""
        command = ["bash", str(_BOOT), "pid", self._name]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)


class Unit:
    """One app's service on a machine.

    Attributes:
        name: ``blazeio@NAME.service``.
        folder: Where its code lies, here.
    """

    def __init__(self, machine: Machine, instance: str, folder: Path) -> None:
        self._machine = machine
        self.instance = instance
        self.name = f"blazeio@{instance}.service"
        self.folder = folder

    def write_code(self, code: str) -> None:
        (self.folder / "app.py").write_text(code)

    def systemctl(
        self, verb: str, *words: str, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """``systemctl VERB`` of this unit."""
        try:
            return self._machine.run(
                "systemctl", verb, *words, self.name, may_fail=may_fail
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.journal()}") from None

    def show(self, *properties: str) -> dict[str, str]:
        """What systemd knows of it."""
        done = self.systemctl("show", "--property", ",".join(properties))
        lines = done.stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def is_in(self, state: str, **properties: str) -> bool:
        """Whether it is ``active/running``, say."""
        wanted = {**properties}
        wanted["ActiveState"], _, wanted["SubState"] = state.partition("/")
        return self.show(*wanted) == wanted

    def wait_for(self, state: str, timeout_s: float = 20.0, **properties: str) -> None:
        try:
            block_until(lambda: self.is_in(state, **properties), timeout_s, state)
        except AssertionError as error:
            status = self.systemctl("status", may_fail=True).stdout
            raise AssertionError(f"{error}\n{status}\n{self.journal()}") from None

    def journal(self) -> str:
        """All that it has said."""
        done = self._machine.run("journalctl", "-u", self.name, "-o", "cat")
        return done.stdout

    def entries(self) -> list[dict[str, str]]:
        """The same with all fields of the journal."""
        done = self._machine.run("journalctl", "-u", self.name, "-o", "json")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def verb(
        self, *words: str, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Ask it, as root does from outside."""
        program = f"/opt/blazeio/{self.instance}/bin/blazeio-supervisor"
        return self._machine.run(program, *words, may_fail=may_fail)
