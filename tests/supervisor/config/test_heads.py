from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


def test_fields_are_read_and_switches_too() -> None:
    words = ["--header=X-A: 1", "--header", "X-B:2", "--no-server-header"]
    overrides = read_settings(*words, "--no-date-header").overrides
    assert overrides.headers == (("X-A", "1"), ("X-B", "2"))
    assert not overrides.has_server_header
    assert not overrides.has_date_header


def test_in_a_file_it_is_a_list_and_in_a_variable_lines(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text('header = ["X-A: 1, 2"]\n')
    assert read_settings(folder=tmp_path).headers == (("X-A", "1, 2"),)
    settings = read_settings(environ={"BLAZEIO_HEADER": "X-A: 1 2\nX-B: 3"})
    assert settings.headers == (("X-A", "1 2"), ("X-B", "3"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("X-A", "expected NAME: VALUE"),
        ("Content-Length: 1", "each response has its own"),
        ("a b: c", "a b"),
    ],
)
def test_what_is_no_field_of_all_responses_is_refused(text: str, line: str) -> None:
    with pytest.raises(UsageError, match=f"--header {text}: .*{line}"):
        read_settings("--header", text)
