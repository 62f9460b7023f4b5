"""What an operator gets wrong: one line says what it was and what to do, and a code.

What only shows in the processes of the app is in ``tests/process/test_failed_boot``.
"""

import logging
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from blazeio_supervisor.__main__ import main
from tests.supervisor.worker.lone_generation import HELLO
from tests.support.live import run_to_exit
from tests.support.namespaces import as_first_process

PROGRAM = "blazeio-supervisor"
ROLLOUT = "no reload could end, since --canary-hold alone takes 9 s"


@dataclass(frozen=True)
class Mistake:
    """What is typed, set and written; what comes of it."""

    words: str
    line: str
    code: int = 2
    toml: str | None = None
    env: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return " ".join([*self.env, self.words, self.toml or ""]) or "nothing"


MISTAKES = [
    # the app and the verbs
    Mistake("", "APP is missing: write `blazeio-supervisor module:attribute`"),
    Mistake("check nobody", "no module named 'nobody'", 4),
    Mistake("hello.py:web", "mixes a file and an attribute: write `hello:web` or"),
    Mistake("hello:a-b", "'a-b' is not a Python name"),
    Mistake("relaod", "did you mean `reload`, or the app `relaod:web`?"),
    Mistake("--workers=2 stop", "'stop' is a verb: the verb comes first"),
    Mistake("--instance one stop", "verb follow it, `blazeio-supervisor stop --inst"),
    Mistake("--workres 1 hello:web", "No such option '--workres'. Did you mean '--wor"),
    Mistake("hello:web other:web", "Got unexpected extra argument (other:web)"),
    Mistake("scale", "Missing argument 'N|+N|-N|auto'"),
    Mistake("recycle first", "'first' is not a slot: write its number, or all"),
    Mistake("stop --control @", "--control @: write a path, or @name"),
    Mistake("stop --control @x --instance y", "one of them says which"),
    Mistake("status --control @blazeio-nobody", "no service is running on @blaz", 6),
    # the command line
    Mistake("hello:web --wrokers=2", "Did you mean '--workers'?"),
    Mistake("hello:web --workers", "Option '--workers' requires an argument"),
    Mistake("hello:web --workers 0", "--workers 0: expected 1 to 256, or auto (one"),
    Mistake("--workers=many hello:web", "--workers many: expected 1 to 256, or auto"),
    Mistake("hello:web --uds=/a", "No such option '--uds': it is `--bind unix:/path`"),
    Mistake("hello:web -t 30", "No such option '-t': it is `--timeout` here"),
    Mistake("hello:web --bind 8000", "--bind 8000: no host: write `127.0.0.1:8000`"),
    Mistake("hello:web --bind :http", "the port must be 0 to 65535, not 'http'"),
    Mistake("hello:web --bind ::1:80", "write an IPv6 address in brackets, `[::1]:80"),
    Mistake("hello:web --bind ftp://a:1", "ftp:// is neither http:// nor https://"),
    Mistake("hello:web --bind :1 --bind :1", ":1 is given twice"),
    Mistake("hello:web --fd 999", "--fd 999: descriptor 999 is not open in this"),
    Mistake("hello:web --loop trio", "--loop trio: expected uvloop or asyncio"),
    Mistake("hello:web --timeout 0", "--timeout 0: expected seconds, 1 to 86400"),
    Mistake("hello:web --timeout soon", "--timeout soon: expected seconds, 1 to 864"),
    Mistake("hello:web --rollout-timeout 9 --canary-hold 9", ROLLOUT),
    Mistake("hello:web --max-head-bytes big", "expected a size such as 64K or 16M"),
    Mistake("hello:web --max-requests-jitter 5", "no effect without --max-requests"),
    Mistake("hello:web --health-path up", "expected a path such as /health"),
    Mistake("hello:web --umask 9", "--umask 9: expected octal digits, 000 to 777"),
    Mistake("hello:web --user nobody-here", "--user nobody-here: no such user"),
    Mistake("hello:web --app-dir none", "--app-dir none: no such folder"),
    Mistake("hello:web --env-file none", "--env-file none: No such file"),
    Mistake("hello:web --keyfile k", "--keyfile k: has no effect without --certfile"),
    Mistake("hello:web --access-log no/log", "--access-log no/log: there is no folder"),
    Mistake("hello:web --header X", "--header X: expected NAME: VALUE"),
    Mistake("hello:web --no-control --control=@x", "--no-control: and --control @x: "),
    # environment and file
    Mistake("hello:web", "WEB_CONCURRENCY=x: expected 1", env={"WEB_CONCURRENCY": "x"}),
    Mistake("hello:web", "BLAZEIO_UMASK=x: expected oct", env={"BLAZEIO_UMASK": "x"}),
    Mistake("--config none.toml", "--config none.toml: no such file"),
    Mistake("", "unknown key 'workres': did you mean 'workers'?", toml="workres = 2"),
    Mistake(
        "", "unknown key 'drain-idle': did you mean 'drain_", toml="drain-idle = 2"
    ),
    Mistake("", 'workers = "8": expected 1 to 256, or a', toml='workers = "8"'),
    Mistake("", "preload = 1: expected true or false, got a w", toml="preload = 1"),
    Mistake("", "this is not TOML: Invalid value", toml="workers = "),
    # what a start would find
    Mistake("check none:web", "no module named 'none' in ", 4),
    Mistake("check hello:wbe", "has no attribute 'wbe': did you mean web?", 4),
    Mistake("check hlelo:web", "or the environment; did you mean hello?", 4),
    Mistake("check hello:web --factory", "is an app, and no function that makes", 4),
    Mistake("check none.py", "none.py: No such file or directory", 4),
    Mistake("check fails:web", "fails failed to import: ZeroDivisionError", 4),
    Mistake("check script.py", "script.py cannot be compiled: expected", 4),
    Mistake(
        "check broken:make --factory", "the factory broken:make raised: OSError", 3
    ),
    Mistake("check hello:web --certfile none.pem", "none.pem: no such file", 2),
    Mistake("check script.py --bind 127.0.0.1:TAKEN", "cannot be compiled", 4),
    Mistake("check hello.py --bind 127.0.0.1:TAKEN", " is in use by pid ", 5),
    Mistake("check hello.py --bind unix:no/s", "cannot bind unix:no/s: No such", 5),
]

BROKEN = 'def make():\n    raise OSError("no database")\n'


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


@pytest.fixture(autouse=True)
def blazeio_log() -> Iterator[None]:
    """Give the logger back as it was."""
    logger = logging.getLogger("blazeio")
    before = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.mark.parametrize(
    "mistake",
    [
        pytest.param(each, marks=[pytest.mark.slow] if "check" in each.words else [])
        for each in MISTAKES
    ],
    ids=str,
)
def test_a_mistake_is_one_line_and_an_exit_code(
    mistake: Mistake,
    taken: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, code in (
        ("hello", HELLO),
        ("broken", BROKEN),
        ("fails", "1 / 0"),
        ("script", "if 1:\n"),
    ):
        (tmp_path / f"{name}.py").write_text(code)
    if mistake.toml is not None:
        (tmp_path / "blazeio.toml").write_text(mistake.toml)
    for name, value in mistake.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    words = mistake.words.replace("TAKEN", str(taken)).split()
    monkeypatch.setattr("sys.argv", [PROGRAM, *words])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == mistake.code
    *frames, said = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{PROGRAM}: ")
    assert mistake.line in said
    assert not frames or "Traceback" in frames[0]


def test_there_are_enough_of_them() -> None:
    assert len({mistake.line for mistake in MISTAKES}) >= 25
    assert {mistake.code for mistake in MISTAKES} == {2, 3, 4, 5, 6}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["--pid-file", "/no/such/pid"], 2, "--pid-file /no/such/pid: No such file"),
        (["--keyfile", "k", "--certfile", "c"], 2, "TLS certfile c: no such file"),
    ],
)
def test_the_program_itself_ends_so(
    tmp_path: Path, words: list[str], code: int, line: str
) -> None:
    (tmp_path / "hello.py").write_text(HELLO)
    done = run_to_exit([PROGRAM, "hello:web", *words], cwd=tmp_path)
    assert done.returncode == code
    assert line in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [[PROGRAM, "--version"], ["python", "-m", "blazeio_supervisor", "-h"]]
)
def test_the_program_is_installed_and_a_module_too(words: list[str]) -> None:
    done = run_to_exit(words)
    assert done.returncode == 0
    assert PROGRAM in done.stdout


def test_an_interrupt_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sys.argv", [PROGRAM, "status"])
    monkeypatch.setattr("blazeio_supervisor.cli.client.search", interrupt)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


SIGNALLED = """
import os, signal, sys
from blazeio_supervisor.__main__ import main

class Interrupting:
    def find_spec(self, name, *_):
        if name == "blazeio_supervisor.config.settings":
            os.kill(os.getpid(), signal.{name})
            try:
                sum(range(10**6))
            except KeyboardInterrupt:
                pass  # as C code does that asks for an attribute

sys.meta_path.insert(0, Interrupting())
sys.argv[1:] = {words}
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [["hello:web"], ["--no-config", "hello:web"]])
def test_an_interrupt_in_the_midst_of_the_imports_ends_it(
    tmp_path: Path, words: list[str]
) -> None:
    code = SIGNALLED.format(name="SIGINT", words=words)
    done = run_to_exit(["python", "-c", code], cwd=tmp_path)
    assert done.returncode == 130
    assert done.stderr == ""


@pytest.mark.slow
def test_the_first_process_of_a_container_is_ended_before_it_serves(
    tmp_path: Path,
) -> None:
    code = SIGNALLED.format(name="SIGTERM", words=["hello:web"])
    done = run_to_exit(as_first_process([sys.executable, "-c", code]), cwd=tmp_path)
    assert done.returncode == 143
    assert done.stderr == ""
