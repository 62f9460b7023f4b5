import pytest
from click.testing import CliRunner

from blazeio_supervisor.cli.serve import command


@pytest.mark.parametrize(
    "word",
    [
        "--workers",
        "--bind",
        "--graceful-timeout",
        "HUP",
        "TTIN",
        "Exit codes",
        "unix:",
        "--certfile",
        "USR1",
        "reload",
    ],
)
def test_the_help_says_what_one_needs_at_night(word: str) -> None:
    done = CliRunner().invoke(command, ["--help"])
    assert done.exit_code == 0
    assert word in done.output
