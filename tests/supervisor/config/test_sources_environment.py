import pytest

from blazeio_supervisor.config.settings import list_all_options
from blazeio_supervisor.config.sources import find_misspelt
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import configure


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
