"""Sections are those of PEP 3333."""

from typing import Any

import pytest
from msgspec.structs import replace

from blazeio.gateways.scope import ConnectionFacts, make_environ
from blazeio.limits import Limits
from blazeio.wire.request import parse_head


def make(target: str = "/", fields: str = "", root_path: str = "", **facts: Any) -> Any:
    octets = f"GET {target} HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode("latin-1")
    head = parse_head(octets, Limits())
    assert head is not None
    given = ConnectionFacts("1.1", "http", ("10.0.0.1", 4711), ("127.0.0.1", 8000))
    return make_environ(head, replace(given, **facts), root_path)


def test_an_environ_has_the_variables_of_the_specification() -> None:
    """Section "environ Variables"."""
    fields = "Content-Type: text/plain\r\nContent-Length: 3\r\nX-A: 1\r\n"
    assert make("/a%20b?c=d", fields) == {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b",
        "QUERY_STRING": "c=d",
        "RAW_URI": "/a%20b?c=d",
        "REQUEST_URI": "/a%20b?c=d",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "blazeio",
        "REMOTE_ADDR": "10.0.0.1",
        "REMOTE_PORT": "4711",
        "HTTP_HOST": "a",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_A": "1",
    }


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        ("/%C3%A9", "/\xc3\xa9"),
        ("/%ff", "/\xff"),
        ("/%2F", "//"),
        ("/%2541", "/%41"),
        ("http://b/x%20y?z", "/x y"),
    ],
)
def test_path_info_is_the_decoded_octets_as_latin_1(
    target: str, path_info: str
) -> None:
    """Section "Unicode Issues"."""
    assert make(target)["PATH_INFO"] == path_info


@pytest.mark.parametrize(
    ("target", "path_info"),
    [
        ("/x", "/x"),
        ("/api/x", "/x"),
        ("/api", ""),
        ("/apis", "/apis"),
        ("/api/%C3%A9", "/\xc3\xa9"),
    ],
)
def test_root_path_is_the_script_name(target: str, path_info: str) -> None:
    environ = make(target, root_path="/api")
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/api", path_info)


def test_repeated_fields_are_joined() -> None:
    fields = "X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nCookie: b=2\r\n"
    environ = make("/", fields)
    assert environ["HTTP_X_A"] == "1,2"
    assert environ["HTTP_COOKIE"] == "a=1; b=2"


def test_a_name_with_an_underscore_is_no_variable() -> None:
    environ = make("/", "X_Forwarded_For: 1\r\nContent_Length: 9\r\nX-Real-Ip: 2\r\n")
    assert "HTTP_X_FORWARDED_FOR" not in environ
    assert "CONTENT_LENGTH" not in environ
    assert environ["HTTP_X_REAL_IP"] == "2"


def test_a_field_cannot_pose_as_a_variable_of_the_server() -> None:
    environ = make("/", "Proxy: http://evil\r\nRemote-Addr: 1\r\nScript-Name: /x\r\n")
    assert environ["REMOTE_ADDR"] == "10.0.0.1"
    assert environ["SCRIPT_NAME"] == ""
    assert environ["HTTP_REMOTE_ADDR"] == "1"


@pytest.mark.parametrize(
    ("server", "scheme", "name", "port"),
    [
        (("/run/a.sock", None), "http", "/run/a.sock", "80"),
        (("/run/a.sock", None), "https", "/run/a.sock", "443"),
        (None, "http", "localhost", "80"),
    ],
)
def test_server_name_and_port_are_never_empty(
    server: Any, scheme: str, name: str, port: str
) -> None:
    environ = make("/", server=server, scheme=scheme, client=None)
    assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (name, port)
    assert environ["REMOTE_ADDR"] == ""
