"""Where settings come from: command line, environment, file; which of them counts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blazeio_supervisor.config.option import Given, choose, find_misspelt, read_given
from blazeio_supervisor.config.settings import list_all_options
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from tests.supervisor.typed import configure, look_for_sources, read_settings
from tests.support.tree import REPOSITORY, iterate_modules

OPTIONS = tuple(list_all_options())


def given(value: int) -> dict[str, Given]:
    return {"workers": Given(value, value, "here", f"here {value}")}


def test_the_first_source_that_has_it_counts() -> None:
    assert choose(OPTIONS, [{}, given(1), given(2)])["workers"].value == 1


def test_where_nobody_says_it_the_default_counts() -> None:
    chosen = choose(OPTIONS, [])
    assert chosen["steering"].value == "load"
    assert chosen["steering"].is_default
    assert chosen["workers"].written == "auto"


def test_what_must_be_said_has_none() -> None:
    assert "app" not in choose(OPTIONS, [])


@pytest.mark.parametrize(("label", "line"), [("--x 1", "--x 1: no"), ("", "no")])
def test_a_refusal_names_where_it_was_given(label: str, line: str) -> None:
    def refuse(_: object) -> object:
        raise ValueError("no")

    with pytest.raises(UsageError, match=f"^{line}$"):
        read_given(refuse, "1", "here", label)


def test_command_line_then_environment_then_file_then_default(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text(
        "workers = 2\ntimeout = 2\ndrain_idle = 2\napp = 'app:web'\n"
    )
    environ = {"BLAZEIO_WORKERS": "3", "BLAZEIO_TIMEOUT": "3"}
    settings = configure(
        "--workers=4", environ=environ, folder=tmp_path
    ).make_settings()
    assert (settings.workers, settings.timeout_s) == (4, 3.0)
    assert (settings.drain_idle_s, settings.boot_timeout_s) == (2.0, 60.0)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("workers = 2\n")
    environ = {"BLAZEIO_CONFIG": f"{tmp_path}/x.toml"}
    assert read_settings(environ=environ).workers == 2


def test_reading_again_gives_what_the_file_says_by_then(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text("workers = 2\n")
    sources = look_for_sources("app:web", folder=tmp_path)
    assert sources.read().make_settings().workers == 2
    (tmp_path / "blazeio.toml").write_text("workers = 3\n")
    assert sources.read().make_settings().workers == 3


def test_what_wins_over_the_app_is_kept_together() -> None:
    settings = read_settings("--certfile=c", "--max-in-flight=9", "--access-log=-")
    assert settings.overrides.tls == {"certfile": "c"}
    assert settings.overrides.limits == {"in_flight": 9}
    assert settings.overrides.access_log == "-"


@pytest.mark.parametrize(
    ("environ", "field", "value"),
    [
        ({"BLAZEIO_WORKERS": "3"}, "workers", 3),
        ({"WEB_CONCURRENCY": "3"}, "workers", 3),
        ({"WEB_CONCURRENCY": "3", "BLAZEIO_WORKERS": "4"}, "workers", 4),
        ({"BLAZEIO_PRELOAD": "0"}, "preload", False),
        ({"BLAZEIO_MAX_MEMORY": "1M"}, "max_memory_bytes", 1048576),
        ({"BLAZEIO_HANDLER_TIMEOUT": "none"}, "handler_timeout_s", None),
    ],
)
def test_a_variable_is_read(environ: dict[str, str], field: str, value: object) -> None:
    given = configure(environ=environ).given[field]
    assert given.value == value
    assert given.origin in environ


def test_a_list_is_separated_by_blanks() -> None:
    given = configure(environ={"BLAZEIO_BIND": "unix:/a  unix:/b"}).given["binds"]
    assert given.written == "unix:/a  unix:/b"
    assert len(given.value) == 2


def test_an_empty_variable_says_nothing() -> None:
    assert configure(environ={"BLAZEIO_USER": ""}).given["user"].is_default


@pytest.mark.parametrize(
    ("variable", "text", "line"),
    [
        ("BLAZEIO_WORKERS", "0", "BLAZEIO_WORKERS=0: expected 1 to 256, or auto"),
        ("WEB_CONCURRENCY", "x", "WEB_CONCURRENCY=x: expected 1 to 256, or auto"),
        ("BLAZEIO_PRELOAD", "x", "BLAZEIO_PRELOAD=x: expected true or false"),
    ],
)
def test_a_refusal_names_the_variable(variable: str, text: str, line: str) -> None:
    with pytest.raises(UsageError, match=f"^{line}"):
        configure(environ={variable: text})


def test_what_is_nearly_ours_is_found_and_what_a_platform_sets_is_not() -> None:
    platforms = (
        "SERVICE_HOST",
        "SERVICE_PORT",
        "PORT",
        "PORT_80_TCP",
        "PORT_80_TCP_ADDR",
    )
    environ = {f"BLAZEIO_{name}": "x" for name in platforms}
    environ |= {"BLAZEIO_WORKRES": "3", "BLAZEIO_WORKERS": "3", "HOME": "/"}
    found = find_misspelt(list_all_options(), environ)
    assert found == {"BLAZEIO_WORKRES": "BLAZEIO_WORKERS"}


def test_no_variable_that_we_read_is_taken_for_a_mistake() -> None:
    texts = [path.read_text() for path in iterate_sources()]
    names = {
        name for text in texts for name in re.findall(r'"(BLAZEIO_[A-Z_]+)"', text)
    }
    assert {"BLAZEIO_INSTANCE", "BLAZEIO_PURE", "BLAZEIO_COMPILE"} <= names
    environ = dict.fromkeys({*names, "BLAZEIO_CONFIG"}, "x")
    assert find_misspelt(list_all_options(), environ) == {}
    near = find_misspelt(list_all_options(), {"BLAZEIO_INSTANEC": "x"})
    assert near == {"BLAZEIO_INSTANEC": "BLAZEIO_INSTANCE"}


def iterate_sources() -> Iterator[Path]:
    yield REPOSITORY / "deploy" / "compiled_wheel.py"
    for module in iterate_modules():
        yield module.path


def test_each_type_of_toml_is_read(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text(
        'app = "app:web"\nworkers = 3\ndrain_idle = 0.5\npreload = false\n'
        'max_memory = "1M"\nmax_content_bytes = 10\nbind = [":1", "unix:/s"]\n'
        'umask = "027"\n'
    )
    settings = configure(folder=tmp_path).make_settings()
    assert settings.app.text == "app:web"
    assert (settings.workers, settings.drain_idle_s) == (3, 0.5)
    assert not settings.preload
    assert settings.max_memory_bytes == 1048576
    assert settings.bounds == {"content_bytes": 10}
    assert len(settings.binds) == 2
    assert settings.umask == 0o27


def test_the_file_that_is_named_wins_then_our_own_then_the_projects(
    tmp_path: Path,
) -> None:
    def find_path(*words: str) -> str:
        return Path(configure(*words, folder=tmp_path).path).name

    (tmp_path / "pyproject.toml").write_text("[tool.other]\n")
    assert find_path() == ""
    (tmp_path / "pyproject.toml").write_text("[tool.blazeio]\nworkers = 2\n")
    assert find_path() == "pyproject.toml"
    (tmp_path / "blazeio.toml").write_text("workers = 3\n")
    assert find_path() == "blazeio.toml"
    (tmp_path / "x.toml").write_text("workers = 4\n")
    assert find_path(f"--config={tmp_path}/x.toml") == "x.toml"
    project = configure(f"--config={tmp_path}/pyproject.toml", folder=tmp_path)
    assert project.given["workers"].value == 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("workres = 2", "unknown key 'workres': did you mean 'workers'?"),
        ("drain-idle = 2", "unknown key 'drain-idle': did you mean 'drain_idle'?"),
        ("[xyz]\nworkers = 2", "unknown key 'xyz': every option of --help is one"),
        ("workers = 0", "workers = 0: expected 1 to 256, or auto"),
        ('workers = "8"', 'workers = "8": expected 1 to 256, .*, got a string'),
        ("workers = true", "workers = true: .*, got true or false"),
        ("preload = 1", "preload = 1: expected true or false, got a whole number"),
        ("bind = 80", "bind = 80: expected a string, got a whole number"),
        ("umask = 27", "umask = 27: expected octal digits, .*, got a whole number"),
        ("timeout = {s = 1}", r"timeout = {\.\.\.}: expected seconds, .*, got a table"),
        ("timeout = 2026-01-01", "got a date or time"),
        ("app = 1", "app = 1: expected a string, got a whole number"),
        ("workers = ", "this is not TOML: Invalid value"),
    ],
)
def test_a_mistake_names_file_key_expected_and_got(
    tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "blazeio.toml").write_text(text)
    with pytest.raises(UsageError, match=f"^{tmp_path}/blazeio.toml: .*{line}"):
        configure(folder=tmp_path)


def test_what_only_shows_in_two_keys_names_the_file_too(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text("app = 'a:b'\nrollout_timeout = 1\n")
    line = f"^{tmp_path}/blazeio.toml: rollout_timeout = 1: no reload could end"
    with pytest.raises(UsageError, match=line):
        configure(folder=tmp_path).make_settings()


def test_a_file_that_is_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--config none\.toml: no such file"):
        configure("--config=none.toml")
    with pytest.raises(UsageError, match=f"^{tmp_path}: Is a directory"):
        configure(f"--config={tmp_path}")


def test_a_project_that_is_named_must_have_our_table(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.other]\n")
    with pytest.raises(UsageError, match=r"there is no table \[tool\.blazeio\]"):
        configure(f"--config={path}")


@pytest.mark.parametrize("text", ["tool = 3\n", "[project]\n", "[tool]\nx = 1\n", ""])
def test_a_project_without_settings_for_us_is_no_file(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    assert configure(folder=tmp_path).path == ""


def test_a_project_that_is_no_toml_is_never_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[project]\nname = \n")
    with pytest.raises(UsageError) as caught:
        configure(folder=tmp_path)
    text = str(caught.value)
    assert text.startswith(f"{path}: this is not TOML: Invalid value (at line 2, ")
    assert text.endswith("; mend it, or start with --no-config")
    assert configure("--no-config", folder=tmp_path).path == ""


def test_no_file_is_read_when_none_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text("workers = 3\n")
    environ = {"BLAZEIO_CONFIG": f"{tmp_path}/blazeio.toml"}
    found = configure("--no-config", environ=environ, folder=tmp_path)
    assert found.given["workers"].is_default
    with pytest.raises(UsageError, match="--config and --no-config: one of them"):
        configure("--no-config", "--config=a.toml")


@pytest.mark.parametrize("written", ["a", 1, 1.5, True, ["a"], {"A": "b"}, None])
def test_what_a_file_can_hold_goes_over_an_upgrade(written: Any) -> None:
    one = Given(written=written, origin="blazeio.toml")
    assert unpack(pack(one), Given) == one
