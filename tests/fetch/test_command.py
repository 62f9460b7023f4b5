import io as stdio
from pathlib import Path
from typing import Any

import click
import pytest

from blazeio.__main__ import Order, command
from blazeio.client.auth import DigestAuth
from blazeio.errors import ConfigurationError

URL = "http://a.example/"


def read(*arguments: str) -> Order:
    order = command.main([*arguments], standalone_mode=False)
    assert isinstance(order, Order)
    return order


@pytest.mark.parametrize(
    ("url", "meant"),
    [("a.example", "http://a.example"), ("https://a.example/x", "https://a.example/x")],
)
def test_a_url_without_a_scheme_is_http(url: str, meant: str) -> None:
    assert read(url).url == meant


def test_what_goes_without_saying() -> None:
    order = read(URL)
    assert (order.method, order.headers, order.content) == ("GET", [], {})
    assert order.follows
    assert order.tls.is_verified


@pytest.mark.parametrize(
    ("arguments", "method", "content"),
    [
        (["-d", "text"], "POST", {"body": b"text"}),
        (["-d", ""], "POST", {"body": b""}),
        (["-X", "PUT", "--data", "x"], "PUT", {"body": b"x"}),
        (["--json", "[1]"], "POST", {"body": b"[1]"}),
        (
            ["-F", "a=1", "-F", "b=@x.txt", "-F", "c=d=e"],
            "POST",
            {"form": [("a", "1"), ("c", "d=e")], "files": [("b", Path("x.txt"))]},
        ),
        (["-F", "a=1"], "POST", {"form": [("a", "1")]}),
    ],
)
def test_content_is_read(
    arguments: list[str], method: str, content: dict[str, Any]
) -> None:
    order = read(URL, *arguments)
    assert (order.method, order.content) == (method, content)


def test_json_says_what_it_is_unless_another_type_is_given() -> None:
    assert read(URL, "--json", "{}").headers == [("Content-Type", "application/json")]
    order = read(URL, "--json", "{}", "-H", "Content-Type: a/b")
    assert order.headers == [("Content-Type", "a/b")]


def test_content_may_be_in_a_file_or_come_by_standard_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data"
    path.write_bytes(b"from disk")
    assert read(URL, "-d", f"@{path}").content == {"body": b"from disk"}
    monkeypatch.setattr("sys.stdin", stdio.TextIOWrapper(stdio.BytesIO(b"piped")))
    assert read(URL, "-d", "@-").content == {"body": b"piped"}


def test_fields_are_read() -> None:
    order = read(URL, "-H", "X-A: b: c", "-H", "Y:")
    assert order.headers == [("X-A", "b: c"), ("Y", "")]


def test_who_asks_is_read() -> None:
    assert read(URL, "-u", "me:x:y").auth == ("me", "x:y")
    assert isinstance(read(URL, "-u", "me:x", "--digest").auth, DigestAuth)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-H", "nonsense"], "'nonsense' is not NAME: VALUE"),
        (["-F", "nonsense"], "'nonsense' is not NAME=VALUE"),
        (["-d", "x", "--json", "1"], "only one of them"),
        (["-m", "0"], "0"),
        (["--what"], "No such option"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(click.ClickException) as caught:
        read(URL, *arguments)
    assert message in caught.value.format_message()


def test_what_has_no_effect_is_named() -> None:
    with pytest.raises(ConfigurationError, match="has no effect"):
        read(URL, "-k", "--cacert", "ca.pem")
