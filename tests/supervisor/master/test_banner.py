import os
import socket
from dataclasses import replace
from typing import Any

import pytest

from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.master.status import Banner
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "blazeio")


SETTINGS = Settings(app=parse_app_path("app:web"), workers=1, binds=(), folder="/")


def make_banner(listeners: Listeners, **tls: Any) -> Banner:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=1,
        binds=(),
        folder="/",
        **tls,
    )
    return Banner(settings, listeners)


@pytest.fixture
def listeners() -> Listeners:
    return Listeners(1)


@pytest.mark.parametrize(("is_tls", "scheme"), [(True, "https"), (False, "http")])
def test_it_waits_until_the_app_says_what_it_speaks(
    listeners: Listeners, caplog: pytest.LogCaptureFixture, is_tls: bool, scheme: str
) -> None:
    banner = make_banner(listeners)
    listeners.open(TcpAddress("127.0.0.1", 0))
    banner.note_bound()
    assert "event=bound 1 address is open" in caplog.text
    assert "event=listening" not in caplog.text
    banner.note_scheme(1, is_tls=is_tls)
    assert f"event=listening app:web on {scheme}://127.0.0.1:" in caplog.text
    listeners.shut()


def test_it_waits_until_the_addresses_are_bound(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    banner = make_banner(listeners)
    banner.note_scheme(1, is_tls=False)
    assert not caplog.text
    banner.note_bound()
    assert "event=bound" not in caplog.text
    assert "event=listening" in caplog.text


def test_it_is_said_at_once_where_the_operator_gave_a_certificate(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    make_banner(listeners, certfile="c").note_bound()
    assert listeners.scheme == "https"
    assert "event=listening" in caplog.text


def test_the_first_word_counts(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    banner = make_banner(listeners, certfile="c")
    banner.note_bound()
    banner.note_scheme(1, is_tls=False)
    assert listeners.scheme == "https"
    assert caplog.text.count("event=listening") == 1


def test_a_reload_that_brings_a_certificate_changes_what_is_shown(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    banner = make_banner(listeners)
    listeners.open(TcpAddress("127.0.0.1", 0))
    banner.note_bound()
    banner.note_scheme(1, is_tls=False)
    banner.note_scheme(2, is_tls=False)  # its forkserver: the App has none
    banner.note_scheme(2, is_tls=True)  # its worker
    assert listeners.addresses[0].startswith("http://")
    banner.take(2, replace(SETTINGS, workers=3))
    assert listeners.addresses[0].startswith("https://")
    assert "event=listening app:web on https://" in caplog.text
    assert "3 workers" in caplog.text
    listeners.shut()


@pytest.mark.parametrize("is_taken_over", [False, True])
def test_one_that_changes_nothing_says_nothing(
    listeners: Listeners, caplog: pytest.LogCaptureFixture, is_taken_over: bool
) -> None:
    banner = make_banner(listeners)
    if is_taken_over:
        banner.note_taken_over()
    else:
        banner.note_bound()
        banner.note_scheme(1, is_tls=False)
    caplog.clear()
    banner.note_scheme(2, is_tls=False)
    banner.take(2, SETTINGS)
    banner.take(3, SETTINGS)  # whose words are not known
    assert not caplog.text
    assert listeners.scheme == "http"


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (["0.0.0.0"], "; 0.0.0.0 is IPv4 alone, `--bind :PORT` is both"),
        (["::"], "; [::] is IPv6 alone, `--bind :PORT` is both"),
        (["0.0.0.0", "::"], ""),
        (["127.0.0.1"], ""),
    ],
)
def test_it_says_which_family_is_left_out(
    listeners: Listeners,
    caplog: pytest.LogCaptureFixture,
    hosts: list[str],
    said: str,
) -> None:
    banner = make_banner(listeners)
    for host in hosts:
        listeners.open(TcpAddress(host, 0))
    banner.note_bound()
    banner.note_scheme(1, is_tls=False)
    assert caplog.text.rstrip().endswith(f"pid {os.getpid()}{said}")
    listeners.shut()


def test_everywhere_is_both_families(listeners: Listeners) -> None:
    """``:PORT``, as docs/reference/settings.md has it."""
    listeners.open(TcpAddress("", 0))
    hosts = {group.endpoint.host for group in listeners.groups}
    assert hosts == ({"0.0.0.0", "::"} if socket.has_dualstack_ipv6() else {"0.0.0.0"})
    listeners.shut()
