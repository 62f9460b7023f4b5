"""A private view of the machine for some commands, which only root may make."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.programs import find_program
from tests.support.tree import REPOSITORY

_OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec"]
_READABLE = """
aside=$1; shift
count=0
for each in $1; do
    count=$((count + 1)); mkdir -p "$aside/$count"
    mount --bind "$each" "$aside/$count"
done
for each in $2; do mount -t tmpfs -o mode=755 none "$each"; done
count=0
for each in $1; do
    count=$((count + 1)); mkdir -p "$each"
    mount --bind "$aside/$count" "$each"
done
shift 2

exec "$@"
"""
_READ_ONLY = """
mount -o remount,ro,bind /
exec "$@"
"""


@cache
def _find_missing(*flags: str) -> str:
    done = subprocess.run(
        ["unshare", *flags, "true"], capture_output=True, text=True, check=False
    )
    return done.stderr.strip()


def need_namespaces(*flags: str) -> None:
    """Skip the test where this machine does not let us; says what is missing."""
    if os.geteuid() != 0:
        pytest.skip("only root changes its user and makes namespaces")
    missing = _find_missing(*flags)
    if missing:
        pytest.skip(missing)


def let_everybody_read_python(command: Sequence[str], aside: Path) -> list[str]:
    """Have a command see what it runs, where that is under somebody's closed home.

    That is its interpreter, its virtual environment and this repository.

    Args:
        command: Keeps its pid.
        aside: An empty folder.
    """
    need_namespaces("--mount")
    python = Path(sysconfig.get_config_var("prefix"))
    hidden, homes = [], set()
    for each in {path.resolve() for path in (python, Path(sys.prefix), REPOSITORY)}:
        closed = [above for above in each.parents if not above.stat().st_mode & 0o1]
        if closed:
            hidden.append(each)
            homes.add(closed[-1])
    if not hidden:
        return list(command)
    lists = [" ".join(map(str, sorted(each))) for each in (hidden, homes)]
    return [*_OWN_MOUNTS, _READABLE, "sh", str(aside), *lists, *command]


def on_a_read_only_disk(command: Sequence[str]) -> list[str]:
    """Have a command see a root file system that nobody can write to."""
    need_namespaces("--mount")
    return [*_OWN_MOUNTS, _READ_ONLY, "sh", *command]


def as_first_process(command: Sequence[str]) -> list[str]:
    """Have a command be PID 1 of a namespace of its own."""
    need_namespaces("--fork", "--pid", "--mount-proc")
    return ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", *command]


class Network:
    """Machines with a network of their own, each joined to one in the middle.

    Nothing of it is seen outside. The files are those of this machine.

    Args:
        count: How many machines there are, beside the one in the middle.
    """

    def __init__(self, count: int) -> None:
        self._names = [f"blazeio-{os.getpid()}-{number}" for number in range(count + 1)]

    def __enter__(self) -> Self:
        need_namespaces("--net")
        for name in self._names:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate(self._names[1:], start=1):
            near, far = self.middle(number), self.address(number)
            middle, link = self._names[0], f"link{number}"
            peer = ["peer", "name", "eth0", "netns", name]
            _ip("-n", middle, "link", "add", link, "type", "veth", *peer)
            for where, device, address in ((middle, link, near), (name, "eth0", far)):
                _ip("-n", where, "address", "add", f"{address}/30", "dev", device)
                _ip("-n", where, "link", "set", device, "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for name in self._names:
            _ip("netns", "delete", name)

    def address(self, number: int) -> str:
        """The address of a machine, from 1 on."""
        return f"10.88.{number}.2"

    def middle(self, number: int) -> str:
        """The address by which a machine knows the one in the middle."""
        return f"10.88.{number}.1"

    def on(self, number: int, *command: str) -> list[str]:
        """Have a command run on a machine; 0 is the one in the middle."""
        return [find_program("ip"), "netns", "exec", self._names[number], *command]


def _ip(*words: str) -> None:
    subprocess.run([find_program("ip"), *words], check=True)
