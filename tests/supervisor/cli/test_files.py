import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from blazeio_supervisor.cli.unit import (
    Command,
    read_template,
    write_service,
    write_socket,
)
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.sockets.address import Address, TcpAddress, UnixAddress
from tests.support.programs import find_program

LOCAL = TcpAddress("127.0.0.1", 8000)
COMMAND = Command(
    name="web",
    program="/opt/web/bin/blazeio-supervisor",
    words=["app:web", "--workers", "8"],
    folder="/srv/web",
    binds=[LOCAL],
)


def list_lines(command: Command) -> list[str]:
    lines = write_service(command).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_it_runs_the_command_where_it_was_typed() -> None:
    lines = list_lines(replace(COMMAND, environ={"BLAZEIO_LOOP": "asyncio"}))
    program = COMMAND.program
    assert f"ExecStart={program} app:web --workers 8" in lines
    assert f"ExecReload={program} reload --wait" in lines
    assert "WorkingDirectory=/srv/web" in lines
    assert "Environment=BLAZEIO_LOOP=asyncio" in lines


def test_all_else_is_as_in_the_template() -> None:
    lines = list_lines(COMMAND)
    kept = [line.replace("%i", "web") for line in read_template("service")]
    kept = [line for line in kept if line and not line.startswith(("#", "Exec"))]
    assert [line for line in lines if line in kept] == kept
    assert len(lines) == len(kept) + 3


def test_no_specifier_is_left() -> None:
    assert "%i" not in write_service(COMMAND) + write_socket(COMMAND)
    assert "@" not in write_socket(COMMAND)


@pytest.mark.parametrize(
    ("bind", "is_public"),
    [
        (LOCAL, False),
        (TcpAddress("::1", 80), False),
        (UnixAddress("/run/a"), False),
        (TcpAddress("", 80), True),
        (TcpAddress("10.0.0.1", 80), True),
    ],
)
def test_what_listens_to_the_network_may_reach_it(
    bind: Address, is_public: bool
) -> None:
    text = write_service(replace(COMMAND, binds=[bind]))
    assert ("IPAddressDeny=" in text) != is_public


def test_an_address_that_only_the_app_knows_may_be_public() -> None:
    assert "IPAddressDeny=" not in write_service(replace(COMMAND, binds=[]))


def test_who_has_a_user_keeps_it() -> None:
    lines = list_lines(replace(COMMAND, user="ann"))
    assert "User=ann" in lines
    assert "DynamicUser=yes" not in lines


def test_what_is_in_a_home_can_be_read_there() -> None:
    home = "/" + "home/ann"
    lines = list_lines(replace(COMMAND, reads=[f"{home}/.venv/bin/python"]))
    assert "ProtectHome=read-only" in lines


def test_folders_of_logs_can_be_written_to() -> None:
    lines = list_lines(replace(COMMAND, writes=["/var/log/web"]))
    assert "ReadWritePaths=-/var/log/web" in lines


def test_who_binds_workers_to_cpus_may() -> None:
    lines = list_lines(replace(COMMAND, has_affinity=True))
    assert "SystemCallFilter=~@privileged" in lines


def test_what_is_below_tmp_is_refused() -> None:
    with pytest.raises(UsageError, match="/tmp/web: a unit has a /tmp of its own"):
        write_service(replace(COMMAND, folder="/tmp/web"))


def test_the_socket_is_that_of_the_command() -> None:
    binds: list[Address] = [
        TcpAddress("", 80),
        TcpAddress("::1", 81),
        UnixAddress("/run/a.sock"),
    ]
    lines = write_socket(replace(COMMAND, binds=binds)).splitlines()
    assert [line for line in lines if line.startswith("ListenStream=")] == [
        "ListenStream=80",
        "ListenStream=[::1]:81",
        "ListenStream=/run/a.sock",
    ]
    assert "RequiredBy=web.service" in lines


def test_words_of_the_user_are_no_words_of_the_template() -> None:
    """``%i`` in them, or the name of the template, is not filled in."""
    words = ["app:web", "--env=A=%i blazeio@web.service /etc/blazeio/web.toml"]
    text = write_service(replace(COMMAND, words=words, folder="/srv/%i"))
    assert '"--env=A=%%i blazeio@web.service /etc/blazeio/web.toml"\n' in text
    assert "WorkingDirectory=/srv/%%i\n" in text


def test_a_host_is_an_address_to_systemd() -> None:
    text = write_socket(replace(COMMAND, binds=[TcpAddress("localhost", 80)]))
    assert "ListenStream=127.0.0.1:80\n" in text
    assert "localhost" not in text.split("[Socket]")[1]


def test_no_word_ends_the_comment_that_it_stands_in() -> None:
    words = ["app:web", "--env=A=1\r\u2028\x1b[2J\nExecStartPre=/bin/evil"]
    for text in (
        write_service(replace(COMMAND, words=words)),
        write_socket(replace(COMMAND, words=words)),
    ):
        assert not [
            line for line in text.splitlines() if line.startswith("ExecStartPre")
        ]
        assert "\x1b" not in text


NAMES = (
    "plain",
    "a b",
    "50%",
    "%i %n",
    "$HOME ${HOME}",
    "say 'x'",
    'say "x"',
    "back\\slash",
    "back\\",
    "blank ",
    "#hash ; semicolon",
    "schön",
)


@pytest.mark.slow
def test_systemd_takes_every_name_that_is_not_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In each place of a unit; it says nothing of a unit that is well."""
    monkeypatch.setattr("blazeio_supervisor.cli.unit._TEMPORARY", ())
    files: list[Path] = []
    for number, name in enumerate(NAMES):
        folder = tmp_path / name
        folder.mkdir()
        program = folder / "run"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        command = replace(
            COMMAND,
            words=["app:web", f"--env=A={name}"],
            environ={"BLAZEIO_A": name},
            writes=[str(folder)],
        )
        socket = UnixAddress(f"/run/x/{name}")
        plain = replace(command, program="/bin/true")
        for kind, made in (
            ("program", replace(command, program=str(program))),
            ("folder", replace(plain, folder=f"{tmp_path}/{name}")),
            ("socket", replace(plain, binds=[socket])),
        ):
            made = replace(made, name=f"blazeio-{kind}-{number}")
            try:
                texts = write_service(made), write_socket(made)
            except UsageError:
                continue
            for end, text in zip(("service", "socket"), texts, strict=True):
                files.append(tmp_path / f"{made.name}.{end}")
                files[-1].write_text(text)
    assert len(files) >= 2 * 2 * len(NAMES)
    done = subprocess.run(
        [find_program("systemd-analyze"), "verify", "--man=no", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
