import os

import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def test_nothing_given_changes_nothing() -> None:
    settings = read_settings()
    assert (settings.identity, settings.umask) == (None, None)


@NEEDS_ROOT
def test_root_may_choose_anybody() -> None:
    identity = read_settings("--user=12345", "--group=54321").identity
    assert identity is not None
    assert (identity.uid, identity.gid) == (12345, 54321)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--user=no-such-user"], "--user no-such-user: no such user"),
        (
            ["--user=12345"],
            "--user 12345: no such user, so its group is not known: give --group",
        ),
        (
            ["--user=root", "--group=no-such-group"],
            "--group no-such-group: no such group",
        ),
        (["--group=root"], "--group root: give --user too"),
    ],
)
def test_who_is_not_there_is_refused_in_one_line(words: list[str], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_settings(*words)
    assert str(caught.value) == line


def test_only_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    assert read_settings("--user=1000", "--group=1000").identity is None
    with pytest.raises(UsageError) as caught:
        read_settings("--user=root")
    assert str(caught.value) == (
        "--user root: only root may run the app as another user (this is uid 1000): "
        "start as root, or as root without --user"
    )


@pytest.mark.parametrize(("text", "umask"), [("0", 0), ("027", 0o27), ("777", 0o777)])
def test_a_umask_is_octal(text: str, umask: int) -> None:
    assert read_settings("--umask", text).umask == umask


@pytest.mark.parametrize("text", ["8", "1000", "-1", "rwx"])
def test_a_umask_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected octal digits, 000 to 777"):
        read_settings("--umask", text)
