import os
import socket
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from blazeio_supervisor.files import (
    READ_BYTES,
    examine,
    examine_to_append,
    identify,
    open_to_append,
    read,
    remove,
    replace,
)
from blazeio_supervisor.trust import UntrustedError
from tests.support.users import NOBODY, acting_as, give, need_root

Change = Callable[[Path], object]


@pytest.fixture
def folder(open_folder: Path) -> Path:
    """One of root's, below the sticky /tmp, with a file of root's."""
    need_root()
    (open_folder / "file").write_text("text")
    (open_folder / "file").chmod(0o644)
    return open_folder


def link_to_file(path: Path) -> Path:
    (path.parent / "real").write_text("text")
    path.unlink()
    path.symlink_to("real")
    return path


def let_a_group_write(path: Path) -> None:
    os.chown(path, 0, NOBODY)
    path.chmod(0o664)


def give_another_name(path: Path) -> None:
    os.link(path, path.parent / "other")
    path.parent.chmod(0o1777)


UNTRUSTED: dict[str, tuple[Change, str]] = {
    "another's": (give, "belongs to nobody (uid 65534)"),
    "for everybody": (partial(Path.chmod, mode=0o666), "by everybody (mode 0666)"),
    "for a group": (let_a_group_write, "by group nogroup (gid 65534) (mode 0664)"),
    "in a folder of another's": (
        lambda path: give(path.parent),
        "belongs to nobody (uid 65534)",
    ),
    "in a folder for everybody": (
        lambda path: give(path.parent, 0, 0o777),
        "by everybody (mode 0777)",
    ),
    "by a link of another's": (
        lambda path: give(link_to_file(path)),
        "is a symbolic link that nobody (uid 65534) made",
    ),
    "of two names where others make files": (
        give_another_name,
        "has 2 names (hard links)",
    ),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
def test_root_does_not_believe_what_others_may_write(folder: Path, kind: str) -> None:
    change, fault = UNTRUSTED[kind]
    path = folder / "file"
    assert read(str(path)) == b"text"
    change(path)
    with pytest.raises(UntrustedError) as caught:
        read(str(path))
    assert fault in str(caught.value.strerror)
    assert str(folder) in str(caught.value.strerror)
    assert "in /etc" in str(caught.value.strerror)
    with pytest.raises(UntrustedError):
        examine(str(path))


def test_a_folder_above_the_folder_counts_too(folder: Path) -> None:
    inner = folder / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("text")
    give(folder / "a")
    with pytest.raises(UntrustedError, match=f"{folder}/a belongs to nobody"):
        read(str(inner / "file"))


def test_links_of_roots_own_are_followed(folder: Path) -> None:
    """As a ConfigMap of Kubernetes has it: a link to a link, in a sticky folder."""
    folder.chmod(0o1777)
    (folder / "..1").mkdir()
    (folder / "..1" / "settings").write_text("text")
    (folder / "..data").symlink_to("..1")
    (folder / "settings").symlink_to("..data/settings")
    assert read(str(folder / "settings")) == b"text"
    (folder / "whole").symlink_to(folder / "..data" / ".." / "file")
    assert read(str(folder / "whole")) == b"text"


def test_a_loop_of_links_ends(folder: Path) -> None:
    (folder / "one").symlink_to("other")
    (folder / "other").symlink_to("one")
    with pytest.raises(OSError, match="Too many levels"):
        read(str(folder / "one"))


def log_to(path: str) -> None:
    os.close(open_to_append(path, 0o600))


@pytest.mark.parametrize("use", [read, log_to])
def test_what_is_no_file_is_refused_and_not_waited_for(
    folder: Path, use: Callable[[str], object]
) -> None:
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "socket"))
        for name, kind in (("pipe", "a pipe"), ("socket", "a socket")):
            with pytest.raises(OSError, match=f"{name} is {kind}.* no regular file"):
                use(str(folder / name))
    with pytest.raises(IsADirectoryError):
        read(str(folder))


def test_a_file_without_an_end_is_not_read(folder: Path) -> None:
    with (folder / "file").open("wb") as file:
        file.truncate(READ_BYTES + 1)
    with pytest.raises(OSError, match=f"longer than {READ_BYTES} octets"):
        read(str(folder / "file"))


def test_a_name_of_an_own_descriptor_is_that_descriptor() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"text")
    os.close(writer)
    try:
        assert read(f"/dev/fd/{reader}") == b"text"
    finally:
        os.close(reader)


def test_a_user_reads_what_is_its_own_or_roots(folder: Path) -> None:
    own = folder / "own"
    own.mkdir()
    give(own, mode=0o775)
    for name, uid, mode in (("mine", NOBODY, 0o664), ("roots", 0, 0o644)):
        (own / name).write_text("text")
        give(own / name, uid, mode)
        (own / f"{name}-link").symlink_to(name)
        give(own / f"{name}-link")
    with acting_as():
        for name in ("mine", "roots", "mine-link", "roots-link"):
            assert read(str(own / name)) == b"text"
    give(own / "mine", 1)
    give(own / "roots", 0, 0o666)
    with acting_as():
        with pytest.raises(UntrustedError, match="uid 65534 must not trust it"):
            read(str(own / "mine"))
        with pytest.raises(UntrustedError, match="by everybody"):
            read(str(own / "roots"))


def test_a_log_in_a_folder_of_another_is_a_file_of_ours(folder: Path) -> None:
    """Of an app's own folder, say; what the app puts there is not written to."""
    victim = folder / "file"
    logs = folder / "logs"
    logs.mkdir()
    path = logs / "log"
    os.close(open_to_append(str(path), 0o640))
    give(logs)
    os.close(open_to_append(str(path), 0o640))
    traps: list[Change] = [
        lambda path: path.symlink_to(victim),
        lambda path: os.link(victim, path),
        give_new,
        os.mkfifo,
        Path.mkdir,
    ]
    for trap in traps:
        path.unlink()
        trap(path)
        with pytest.raises(OSError, match=r"log|directory"):
            log_to(str(path))
    assert victim.read_text() == "text"


def give_new(path: Path) -> None:
    path.write_text("")
    give(path)


def test_a_folder_that_became_a_link_is_not_entered_to_log(folder: Path) -> None:
    app, secret = folder / "app", folder / "secret"
    app.mkdir()
    secret.mkdir()
    give(app)
    (app / "logs").symlink_to(secret)
    give(app / "logs")
    with pytest.raises(UntrustedError, match="is a symbolic link that nobody"):
        open_to_append(f"{app}/logs/log", 0o640)
    assert not list(secret.iterdir())


def test_a_log_has_the_mode_that_was_asked_for(folder: Path) -> None:
    path = folder / "log"
    fd = open_to_append(str(path), 0o640)
    os.write(fd, b"a line\n")
    assert os.get_blocking(fd)
    os.close(fd)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    fd = open_to_append(str(path), 0o640)
    os.write(fd, b"another\n")
    os.close(fd)
    assert path.read_text() == "a line\nanother\n"


def test_devices_and_own_descriptors_can_be_logged_to(folder: Path) -> None:
    reader, writer = os.pipe()
    (folder / "log").symlink_to(f"/proc/self/fd/{writer}")
    for name in ("/dev/null", f"/dev/fd/{writer}", str(folder / "log")):
        fd = open_to_append(name, 0o640)
        os.write(fd, b"x")
        os.close(fd)
    os.close(writer)
    assert os.read(reader, 9) == b"xx"
    os.close(reader)


def test_a_pipe_can_be_logged_to_where_that_is_said(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(OSError, match="No such device"):  # nobody reads
        open_to_append(str(folder / "pipe"), 0o640, may_be_pipe=True)
    reader = os.open(folder / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    fd = open_to_append(str(folder / "pipe"), 0o640, may_be_pipe=True)
    assert not os.get_blocking(fd)
    os.close(fd)
    os.close(reader)


def test_what_is_replaced_is_an_entry_and_not_what_it_leads_to(folder: Path) -> None:
    victim = folder / "file"
    (folder / "link").symlink_to("file")
    identity = replace(str(folder / "link"), b"new\n", 0o644)
    assert victim.read_text() == "text"
    assert (folder / "link").read_text() == "new\n"
    assert not (folder / "link").is_symlink()
    assert identify(str(folder / "link")) == identity
    assert sorted(path.name for path in folder.iterdir()) == ["aside", "file", "link"]
    with pytest.raises(IsADirectoryError):
        replace(str(folder), b"new\n", 0o644)


def test_only_what_is_still_the_same_is_removed(folder: Path) -> None:
    path = folder / "mine"
    first = replace(str(path), b"1\n", 0o644)
    replace(str(path), b"2\n", 0o644)
    assert not remove(str(path), first)
    assert path.exists()
    assert remove(str(path), identify(str(path)))
    assert not path.exists()
    assert not remove(str(path), first)
    assert not remove("/no/such/folder/file", first)


@pytest.mark.parametrize("owner", [0, NOBODY])
def test_a_log_that_nobody_else_may_exchange_may_be_anybodys(
    folder: Path, owner: int
) -> None:
    give(folder / "file", owner)
    examine_to_append(str(folder / "file"))
    examine_to_append(str(folder / "none yet"))
    examine_to_append("/dev/stderr")


@pytest.mark.parametrize(
    "name", ["file", "none yet", "link", "pipe"], ids=lambda each: each.split()[0]
)
@pytest.mark.parametrize("mode", [0o755, 0o1777])
def test_a_log_that_others_may_exchange_is_opened_by_nobody_else(
    folder: Path, name: str, mode: int
) -> None:
    target = folder / "target"
    target.write_text("root's")
    logs = folder / "logs"
    logs.mkdir()
    give(logs)
    with acting_as():
        (logs / "file").write_text("")
        (logs / "link").symlink_to(target)
        os.mkfifo(logs / "pipe")
    give(logs, NOBODY if mode == 0o755 else 0, mode)
    with pytest.raises(OSError, match=r"nobody|anybody|pipe"):
        examine_to_append(str(logs / name))
