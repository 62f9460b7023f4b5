import tomllib
from pathlib import Path

import pytest

from blazeio_supervisor.config.settings import (
    OPTIONS,
    format_settings,
    list_settings,
    write_toml,
)
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import configure


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "blazeio.toml"
    path.write_text("timeout = 2\n")
    environ = {"WEB_CONCURRENCY": "3"}
    configuration = configure("--bind=:1", "a:b", environ=environ, folder=tmp_path)
    by_key = {each.key: each for each in list_settings(configuration)}
    assert (by_key["app"].value, by_key["app"].origin) == ("a:b", "APP")
    assert (by_key["bind"].value, by_key["bind"].origin) == ([":1"], "--bind")
    assert (by_key["workers"].value, by_key["workers"].origin) == (
        3,
        "WEB_CONCURRENCY",
    )
    assert (by_key["timeout"].value, by_key["timeout"].origin) == (2, str(path))
    assert (by_key["loop"].value, by_key["loop"].origin) == (None, "default")
    assert by_key["certfile"].value is None
    assert by_key["certfile"].meaning == "the App's own, else plain HTTP"
    assert len(by_key) == len(OPTIONS)


def test_what_is_printed_sets_the_same_again(tmp_path: Path) -> None:
    words = ["app:web", "--workers=auto", "--no-preload", "--max-memory=2M"]
    words += ["--bind=unix:/a b", "--other-certificate=a,b", "--umask=7"]
    words += ["--handler-timeout=none", '--access-log-format={method} "{path}"']
    first = configure(*words, "--certfile=c", "--log-level=debug", "--control=@x")
    text = format_settings(list_settings(first))
    (tmp_path / "again.toml").write_text(text)
    again = configure(f"--config={tmp_path}/again.toml")
    assert {field: each.value for field, each in again.given.items()} == {
        field: each.value for field, each in first.given.items()
    }
    assert tomllib.loads(text)["bind"] == ["unix:/a b"]


def test_lines_are_grouped_and_what_nobody_says_is_a_comment() -> None:
    lines = format_settings(list_settings(configure())).splitlines()
    assert lines[0] == "# Process"
    assert lines[1].split("#")[1].strip() == "app ="
    assert lines[1].split("#")[2].strip() == "default: required"


def test_a_text_is_quoted_as_toml_has_it() -> None:
    text = 'a "b" \\ \n ä'
    assert tomllib.loads(f"x = {write_toml(text)}") == {"x": text}
    assert write_toml(["a", "b"]) == '["a", "b"]'
    assert (write_toml(True), write_toml(0.5)) == ("true", "0.5")


def test_values_of_variables_are_shown_to_who_asks(tmp_path: Path) -> None:
    path = tmp_path / "blazeio.toml"
    path.write_text('env = {A = "secret=1", B = ""}\n')
    configuration = configure("a:b", folder=tmp_path)
    shown = list_settings(configuration)
    hidden = list_settings(configuration, shows_env=False)
    assert tomllib.loads(format_settings(shown))["env"] == ["A=secret=1", "B="]
    text = format_settings(hidden)
    assert "secret" not in text + repr(hidden)
    assert '# env = ["A=...", "B=..."] ' in text
    assert f"# {path}; --show-env shows the values\n" in text
    assert "env" not in tomllib.loads(text)
    assert [each for each in hidden if each.key != "env"] == [
        each for each in shown if each.key != "env"
    ]


def test_a_value_that_cannot_be_is_no_reason_to_show_it(tmp_path: Path) -> None:
    """A line of the log has it, at a reload."""
    (tmp_path / "blazeio.toml").write_text('env = ["secret value"]\n')
    with pytest.raises(UsageError, match="env: expected NAME=VALUE") as caught:
        configure("a:b", folder=tmp_path)
    assert "secret" not in str(caught.value)
    with pytest.raises(UsageError, match=r"^BLAZEIO_ENV: expected NAME=VALUE$"):
        configure("a:b", "--no-config", environ={"BLAZEIO_ENV": "secret value"})
