import os
import subprocess
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.trust import find_own_fd, why_not_trusted
from tests.support.namespaces import need_namespaces
from tests.support.users import acting_as, give, need_root


@pytest.mark.parametrize(
    ("path", "fd"),
    [
        ("/dev/stdin", 0),
        ("/dev/stderr", 2),
        ("/dev/fd/63", 63),
        ("/proc/self/fd/7", 7),
        ("/proc/{pid}/fd/7", 7),
        ("/proc/1/fd/7", None),
        ("/dev/fd/", None),
        ("/tmp/dev/fd/1", None),
    ],
)
def test_a_descriptor_of_ours_is_known_by_its_names(path: str, fd: int | None) -> None:
    assert find_own_fd(path.format(pid=os.getpid())) == fd


def test_a_folder_is_as_good_as_those_above_it(open_folder: Path) -> None:
    need_root()
    inner = open_folder / "a" / "b"
    inner.mkdir(parents=True)
    assert why_not_trusted(str(inner)) == ""
    give(open_folder / "a")
    assert f"{open_folder}/a belongs to nobody" in why_not_trusted(str(inner))
    assert f"{open_folder}/a belongs to" in why_not_trusted(str(inner / "no" / "such"))
    assert "could be made by anybody" in why_not_trusted("/tmp/no such file")
    with acting_as():
        assert why_not_trusted(str(inner)) == ""


def test_an_acl_that_lets_others_write_is_seen(open_folder: Path) -> None:
    need_root()
    path = open_folder / "file"
    path.write_text("")
    path.chmod(0o664)
    assert why_not_trusted(str(path)) == ""
    done = (
        subprocess.run(
            ["setfacl", "-m", "u:nobody:rw", path], capture_output=True, check=False
        )
        if _has("setfacl")
        else None
    )
    if done is None or done.returncode:
        pytest.skip(
            "no ACLs on this file system, or setfacl is missing: apt-get install acl"
        )
    assert "may be written by group root" in why_not_trusted(str(path))


def _has(program: str) -> bool:
    return any(
        os.access(os.path.join(each, program), os.X_OK)
        for each in os.environ["PATH"].split(os.pathsep)
    )


def test_whoever_has_no_number_in_a_namespace_is_outside_of_it(
    open_folder: Path,
) -> None:
    """There `/` itself belongs to the overflow uid, or the file system to no root."""
    need_root()
    (open_folder / "file").write_text("text")
    give(open_folder / "file", 12345)
    code = (
        "from blazeio_supervisor.files import read;"
        f"print(read({str(open_folder / 'file')!r}))"
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout == "b'text'\n", done.stderr


def test_what_is_mounted_read_only_is_nobodys_to_write(open_folder: Path) -> None:
    """A ConfigMap of Kubernetes: mode 0777, without the sticky bit."""
    need_root()
    need_namespaces("--mount")
    (open_folder / "map").mkdir()
    (open_folder / "map" / "file").write_text("text")
    give(open_folder / "map" / "file", 0, 0o666)
    give(open_folder / "map", 0, 0o777)
    path = str(open_folder / "map")
    assert "may be written by everybody" in why_not_trusted(f"{path}/file")
    code = f"from blazeio_supervisor.files import read;print(read({f'{path}/file'!r}))"
    script = 'mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"; exec "$2" -c "$3"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, "sh", path, sys.executable, code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "b'text'\n", done.stderr
