"""podman with a storage of its own, and the image of the Dockerfile built in it.

No registry is asked: the base image is the root that ``tests/debian`` has made, and
pip installs from its folder of wheels. On control groups of version 1 the runtime is
runc; without CAP_SYS_RESOURCE the limits of a container must be given.
"""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.debian.machine import make_base
from tests.debian.machine import why_not as why_no_base
from tests.support.clock import scaled
from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

BASE = "docker.io/library/python:3.11-slim"
IMAGE = "localhost/shop"
LIMITS = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096")
_BUILD = "import sys, hatchling.build as b; b.build_wheel(sys.argv[1])"
_NOT_IN_IT = ("./dev/*", "./proc/*", "./sys/*", "./wheels", "./srv/*", "./var/cache/*")


@cache
def why_not() -> str:
    """Why no container can be run here; "" when it can."""
    if why_no_base():
        return why_no_base()
    for program in ("podman", "runc"):
        find_program(program)
    return ""


class Podman:
    """Its images and containers; end it, or they stay.

    Args:
        folder: For its storage.
    """

    def __init__(self, folder: Path) -> None:
        self._words = [find_program("podman"), "--runtime", find_program("runc")]
        self._words += ["--root", str(folder / "storage")]
        # podman takes 50 characters at most, and pytest's folders have as many.
        self._runroot = TemporaryDirectory(prefix="podman-", dir="/tmp")
        self._words += ["--runroot", self._runroot.name, "--cgroup-manager=cgroupfs"]
        self._folder = folder
        self._base = make_base()

    def run(self, *words: str | Path, may_fail: bool = False) -> str:
        """Run a command of podman; return what it prints."""
        done = subprocess.run(
            [*self._words, *map(str, words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=scaled(240),
            check=False,
        )
        told = done.stdout.decode(errors="backslashreplace")
        assert may_fail or done.returncode == 0, f"podman {words}\n{told}"
        return told.strip()

    def build(self, code: str) -> None:
        """Build the image of an app, as deploy/README.md has it.

        Args:
            code: Of its ``app.py``.
        """
        shop = self._folder / "shop"
        shop.mkdir()
        (shop / "app.py").write_text(code)
        (shop / "requirements.txt").write_text("")
        (shop / ".env").write_text("SECRET=of the developer")
        ignored = (REPOSITORY / "deploy/dockerignore").read_text()
        (shop / ".dockerignore").write_text(ignored)
        make_wheel = [sys.executable, "-c", _BUILD, str(shop)]
        subprocess.run(make_wheel, cwd=REPOSITORY, check=True, stdout=subprocess.PIPE)
        self._import_base()
        self.run(
            *("build", *LIMITS, "--network", "none", "--pull=never", "--quiet"),
            *("--build-arg", "PYTHON=3.11", "--env", "PIP_NO_INDEX=1"),
            *("--volume", f"{self._base}/wheels:/wheels:ro"),
            *("--env", "PIP_FIND_LINKS=/wheels", "--format", "docker"),
            *("--file", REPOSITORY / "deploy/Dockerfile", "--tag", IMAGE, shop),
        )

    def _import_base(self) -> None:
        """The root of Debian with its Python and a pip, for the official image."""
        packed = self._folder / "base.tar"
        without = [f"--exclude={each}" for each in _NOT_IN_IT]
        tar = ["tar", "-C", str(self._base), *without, "-cf", str(packed), "."]
        subprocess.run(tar, check=True)
        python = "ln -s python3 /usr/bin/python && python -m venv /usr/lib/pip"
        pip = "ln -s /usr/lib/pip/bin/pip /usr/bin/pip"
        path = "ENV PATH /usr/local/bin:/usr/bin:/bin"
        self.run("import", "--quiet", "--change", path, packed, f"{BASE}-without")
        packed.unlink()
        file = self._folder / "Base"
        file.write_text(f"FROM {BASE}-without\nRUN {python} && {pip}\n")
        words = ("--network", "none", "--pull=never", "--quiet", "--tag", BASE)
        self.run("build", *LIMITS, *words, "--file", file, self._folder)

    def start(self, name: str, *words: str, environ: dict[str, str]) -> None:
        """Start a container as deploy/README.md has it, on this machine's network."""
        variables = [f"--env={name}={value}" for name, value in environ.items()]
        self.run(
            *("run", "--detach", "--name", name, *LIMITS, "--network", "host"),
            *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
            *("--security-opt", "no-new-privileges", *variables, IMAGE, *words),
        )

    def inspect(self, kind: str, name: str) -> dict[str, Any]:
        """Return what podman knows of an image or a container."""
        (found,) = json.loads(self.run(kind, "inspect", name))
        return dict(found)

    def end(self) -> None:
        """Remove all containers and images."""
        self.run("rm", "--all", "--force", "--time", "0", may_fail=True)
        self.run("rmi", "--all", "--force", may_fail=True)
        self._runroot.cleanup()
