import pytest

from blazeio_supervisor.__main__ import main
from tests.support.live import run_to_exit

PROGRAM = "blazeio-supervisor"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "APP is missing: write `blazeio-supervisor module:attribute`"),
        (["app"], "did you mean `app:web`?"),
        (["--workers", "2", "stop"], "'stop' is a verb: the verb comes first"),
        (
            ["scale"],
            "Missing argument 'N|+N|-N'. (see blazeio-supervisor scale --help)",
        ),
        (["stop", "--control", "@"], "--control @: write a path"),
        (["app:web", "--workers", "0"], "--workers 0: expected 1 to 256"),
        (["--workers", "0", "app:web"], "--workers 0: expected 1 to 256"),
        (["app:web", "--workers=many"], "--workers many: expected 1 to 256"),
        (["app:web", "--bind", "8000"], "--bind 8000: no port"),
        (["app:web", "--loop", "trio"], "--loop trio"),
        (["app:web", "--timeout", "0"], "--timeout 0: expected seconds, 1 to 86400"),
        (
            ["app:web", "--graceful-timeout", "x"],
            "--graceful-timeout x: expected seconds, 0.1 to",
        ),
        (["app:web", "--no-such"], "No such option '--no-such'"),
        (["app:web", "other:web"], "Got unexpected extra argument"),
        (["app:web", "--app-dir", "/no/such"], "--app-dir /no/such: no such folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", [PROGRAM, *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"{PROGRAM}: ")
    assert line in said


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
    monkeypatch.setattr("blazeio_supervisor.control.verbs.declaring.search", interrupt)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 130
    assert "Traceback" not in capsys.readouterr().err
