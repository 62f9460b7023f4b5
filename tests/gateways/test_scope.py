from typing import Any

import pytest

from blazeio.gateways import scope as module
from blazeio.gateways.scope import (
    ConnectionFacts,
    make_http_scope,
    make_lifespan_scope,
    make_websocket_scope,
)
from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead, parse_head

FACTS = ConnectionFacts("1.1", "http", ("127.0.0.1", 4711), ("127.0.0.1", 8000))


def read(request: str) -> RequestHead:
    head = parse_head(request.encode("latin-1"), Limits())
    assert head is not None
    return head


def get(target: str, root_path: str = "") -> dict[str, Any]:
    head = read(f"GET {target} HTTP/1.1\r\nHost: a.example\r\n\r\n")
    return make_http_scope(head, FACTS, root_path, {}, {})


def test_a_scope_has_every_key_of_the_specification() -> None:
    """ASGI HTTP section "HTTP Connection Scope"."""
    head = read("POST /%C3%A9/%2F?q=%20a HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\r\n")
    assert make_http_scope(head, FACTS, "", {"pool": 1}, {"tls": {}}) == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/\xe9//",
        "raw_path": b"/%C3%A9/%2F",
        "query_string": b"q=%20a",
        "root_path": "",
        "headers": [(b"host", b"a"), (b"x-a", b"1")],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8000),
        "state": {"pool": 1},
        "extensions": {"tls": {}},
    }


@pytest.mark.parametrize(
    ("target", "path", "raw_path", "query"),
    [
        ("/", "/", b"/", b""),
        ("/a?", "/a", b"/a", b""),
        ("/a?b?c", "/a", b"/a", b"b?c"),
        ("/%2541", "/%41", b"/%2541", b""),
        ("/%ff", "/\ufffd", b"/%ff", b""),
        ("http://b.example/x%20y?z", "/x y", b"/x%20y", b"z"),
        ("http://b.example", "/", b"/", b""),
        ("http://b.example?z", "/", b"/", b"z"),
        ("//x/y", "//x/y", b"//x/y", b""),
    ],
)
def test_the_path_is_decoded_once_and_the_raw_path_is_as_sent(
    target: str, path: str, raw_path: bytes, query: bytes
) -> None:
    scope = get(target)
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (
        path,
        raw_path,
        query,
    )


def test_the_asterisk_form_is_a_path_of_its_own() -> None:
    head = read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    scope = make_http_scope(head, FACTS, "", {}, {})
    assert (scope["path"], scope["raw_path"]) == ("*", b"*")


@pytest.mark.parametrize(
    ("target", "path", "raw_path"),
    [
        ("/x", "/api/x", b"/api/x"),
        ("/", "/api/", b"/api/"),
        ("/api/x", "/api/x", b"/api/x"),
        ("/api", "/api", b"/api"),
        ("/apis/x", "/api/apis/x", b"/api/apis/x"),
        ("/%20", "/api/ ", b"/api/%20"),
    ],
)
def test_root_path_begins_the_path_and_is_not_given_twice(
    target: str, path: str, raw_path: bytes
) -> None:
    scope = get(target, "/api")
    assert scope["root_path"] == "/api"
    assert (scope["path"], scope["raw_path"]) == (path, raw_path)


def test_a_root_path_is_percent_encoded_in_the_raw_path() -> None:
    assert get("/x", "/\xe9")["raw_path"] == b"/%C3%A9/x"


def test_what_one_request_changes_does_not_show_in_the_next() -> None:
    head = read("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    state: dict[str, Any] = {}
    first = make_http_scope(head, FACTS, "", state, {})
    first["asgi"]["version"] = "x"
    first["headers"].append((b"a", b"b"))
    first["state"]["a"] = 1
    first["extensions"]["a"] = {}
    second = make_http_scope(head, FACTS, "", state, {})
    assert second["asgi"]["version"] == "3.0"
    assert second["headers"] == [(b"host", b"a")]
    assert second["state"] == second["extensions"] == {}


SAME = "GET /same HTTP/1.1\r\nHost: same.example\r\n\r\n"


def test_the_scope_of_a_head_that_comes_again_is_like_the_first() -> None:
    head = read(SAME)
    first = make_http_scope(head, FACTS, "", {}, {})
    for number in range(5):
        extensions: dict[str, Any] = {"tls": {}}
        state = {"pool": number}
        scope = make_http_scope(head, FACTS, "", state, extensions)
        assert scope["extensions"] is extensions
        assert scope["state"] == state is not scope["state"]
        assert scope == {**first, "state": state, "extensions": extensions}
        assert list(scope) == list(first)
        scope["path"] = "/changed"
        scope["headers"].append((b"a", b"b"))
        scope["asgi"].clear()
        del scope["method"]
    assert id(head) in module._cached_scopes.recent


def test_it_has_the_connection_and_the_root_path_of_the_request() -> None:
    head = read(SAME)
    secure = ConnectionFacts("2", "https", ("192.0.2.1", 1), ("192.0.2.2", 443))
    for _ in range(3):
        plain = make_http_scope(head, FACTS, "", {}, {})
        other = make_http_scope(head, secure, "/api", {}, {})
        again = make_http_scope(head, secure, "/api", {}, {})
        assert (plain["path"], plain["root_path"]) == ("/same", "")
        assert plain["client"] == ("127.0.0.1", 4711)
        assert other == again
        assert (other["path"], other["root_path"]) == ("/api/same", "/api")
        assert (other["http_version"], other["scheme"]) == ("2", "https")
        assert (other["client"], other["server"]) == (secure.client, secure.server)


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /own?token=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /own HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\n\r\n",
        "GET /own HTTP/1.1\r\nHost: a\r\nX-Token: 1\r\n\r\n",
        f"GET /{'o' * 1024} HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_no_scope_of_one_client_alone_is_kept(request_text: str) -> None:
    head = read(request_text)
    for _ in range(3):
        make_http_scope(head, FACTS, "", {}, {})
    assert id(head) not in module._cached_scopes.recent


def test_the_scope_of_a_websocket_has_its_own_scheme_and_subprotocols() -> None:
    head = read(
        "GET /ws HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: one, two\r\n"
        "Sec-WebSocket-Protocol: three\r\n\r\n"
    )
    scope = make_websocket_scope(head, FACTS, "", {}, {})
    assert scope["type"] == "websocket"
    assert scope["scheme"] == "ws"
    assert scope["subprotocols"] == ["one", "two", "three"]
    assert "method" not in scope


def test_without_subprotocols_there_are_none() -> None:
    head = read("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Protocol: ,\r\n\r\n")
    assert make_websocket_scope(head, FACTS, "", {}, {})["subprotocols"] == []


def test_the_lifespan_fills_the_state_itself() -> None:
    state: dict[str, Any] = {}
    assert make_lifespan_scope(state)["state"] is state


def test_fields_outside_of_ascii_are_latin_1() -> None:
    head = read("GET / HTTP/1.1\r\nHost: a\r\nX-A: \xe9\r\n\r\n")
    assert make_http_scope(head, FACTS, "", {}, {})["headers"][1] == (b"x-a", b"\xe9")


def test_headers_of_no_fields_are_an_empty_list() -> None:
    head = read("GET / HTTP/1.0\r\n\r\n")
    assert head.headers == Headers([])
    assert make_http_scope(head, FACTS, "", {}, {})["headers"] == []
