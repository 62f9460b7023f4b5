"""A private view of the machine for one command, which only root may make."""

import os
import subprocess
import sysconfig
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

_OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec"]
_READABLE = """
home=$1 python=$2 aside=$3; shift 3
mount --bind "$python" "$aside"
mount -t tmpfs -o mode=755 none "$home"
mkdir -p "$python"
mount --bind "$aside" "$python"

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
    """Have a command see an interpreter that is under somebody's closed home.

    Args:
        command: Keeps its pid.
        aside: An empty folder.
    """
    need_namespaces("--mount")
    python = Path(sysconfig.get_config_var("prefix")).resolve()
    closed = [each for each in python.parents if not each.stat().st_mode & 0o1]
    if not closed:
        return list(command)
    arguments = [str(closed[-1]), str(python), str(aside)]
    return [*_OWN_MOUNTS, _READABLE, "sh", *arguments, *command]


def on_a_read_only_disk(command: Sequence[str]) -> list[str]:
    """Have a command see a root file system that nobody can write to."""
    need_namespaces("--mount")
    return [*_OWN_MOUNTS, _READ_ONLY, "sh", *command]


def as_first_process(command: Sequence[str]) -> list[str]:
    """Have a command be PID 1 of a namespace of its own."""
    need_namespaces("--fork", "--pid", "--mount-proc")
    return ["unshare", "--fork", "--pid", "--mount-proc", "--kill-child", *command]
