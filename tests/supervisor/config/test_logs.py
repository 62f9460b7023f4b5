from dataclasses import replace
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.log.formats import StandardError
from tests.supervisor.typed import read_settings


def test_a_log_level_is_read_in_any_case() -> None:
    assert read_settings("--log-level=Warning").log_level == "WARNING"


def test_a_log_level_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="--log-level loud: expected debug, info, wa"):
        read_settings("--log-level=loud")


def test_by_default_it_is_text_on_standard_error() -> None:
    settings = read_settings()
    assert (settings.log_format, settings.log_file) == ("text", None)
    assert not settings.capture_output


def test_it_may_be_json_in_a_file_with_what_the_app_prints(tmp_path: Path) -> None:
    words = ["--log-format=json", f"--log-file={tmp_path}/log", "--capture-output"]
    settings = read_settings(*words)
    assert settings.log_format == "json"
    assert settings.log_file == f"{tmp_path}/log"
    assert settings.capture_output


@pytest.mark.parametrize(
    ("path", "line"),
    [("", "expected a file"), ("/", "expected a file"), ("/no/x", "no folder /no")],
)
def test_a_file_that_cannot_be_is_refused(path: str, line: str) -> None:
    with pytest.raises(UsageError, match=f"--log-file .*: .*{line}"):
        read_settings("--log-file", path)


@pytest.mark.parametrize(
    ("words", "has_color"),
    [
        ((), True),
        (("--no-use-colors",), False),
        (("--use-colors", "--log-file=a.log"), True),
        (("--log-file=a.log",), False),
    ],
)
def test_colours_are_those_of_a_terminal_unless_it_is_said(
    words: tuple[str, ...], has_color: bool
) -> None:
    settings = replace(
        read_settings(*words), standard_error=StandardError(has_color=True)
    )
    assert settings.log_terms.has_color is has_color
