import os
import pwd
import subprocess
import sys

import pytest

from blazeio_supervisor.ipc.processes import Identity, find_identity

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
ROOT = pwd.getpwuid(0)
REPORT = """
import os, sys
from blazeio_supervisor.ipc.processes import Identity, take_on
take_on(Identity(*{arguments!r}))
print(os.getresuid(), os.getresgid(), sorted(os.getgroups()))
print([os.environ.get(key) for key in ("HOME", "USER", "LOGNAME")])
print(open("/proc/self/environ", "rb").read(1) != b"")
"""


@pytest.mark.parametrize("text", ["root", "0"])
def test_a_name_and_a_number_are_the_same(text: str) -> None:
    expected = Identity(0, ROOT.pw_gid, "root", ROOT.pw_dir)
    assert find_identity(text, "") == expected


def test_the_group_may_be_another_one() -> None:
    assert find_identity("root", "54321").gid == 54321


def test_a_number_without_an_entry_needs_a_group() -> None:
    assert find_identity("12345", "0") == Identity(12345, 0)
    with pytest.raises(ValueError, match="its group is not known: give --group"):
        find_identity("12345", "")


@pytest.mark.parametrize("text", ["no-such-one", "-1", "4294967295", "٣", "1.5"])
def test_what_is_neither_name_nor_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no such user"):
        find_identity(text, "0")
    with pytest.raises(ValueError, match="no such group"):
        find_identity("root", text)


def take_on(*arguments: object) -> list[str]:
    code = REPORT.format(arguments=arguments)
    environment = {**os.environ, "HOME": "/root", "USER": "root", "LOGNAME": "root"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


@NEEDS_ROOT
def test_a_user_is_taken_on_with_groups_and_environment() -> None:
    entry = pwd.getpwnam("daemon")
    uid = entry.pw_uid
    groups = sorted(os.getgrouplist("daemon", 54321))
    said = take_on(uid, 54321, "daemon", entry.pw_dir)
    assert said == [
        f"({uid}, {uid}, {uid}) (54321, 54321, 54321) {groups}",
        str([entry.pw_dir, "daemon", "daemon"]),
        "True",  # what is in /proc/self is its own
    ]


@NEEDS_ROOT
def test_who_would_still_have_the_rights_of_root_does_not_go_on() -> None:
    """Capabilities outlive the change where the process had asked for that."""
    code = """
import ctypes
NO_SETUID_FIXUP = 4
PR_SET_SECUREBITS = 28
assert ctypes.CDLL(None).prctl(PR_SET_SECUREBITS, NO_SETUID_FIXUP, 0, 0, 0) == 0
from blazeio_supervisor.ipc.processes import Identity, take_on
try:
    take_on(Identity(12345, 54321))
except OSError as exception:
    print(exception.strerror)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "root's rights are still there afterwards\n"


@NEEDS_ROOT
def test_a_user_without_an_entry_has_one_group_and_no_name() -> None:
    assert take_on(12345, 54321)[:2] == [
        "(12345, 12345, 12345) (54321, 54321, 54321) [54321]",
        str(["/", None, None]),
    ]
