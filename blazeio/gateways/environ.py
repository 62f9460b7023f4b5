"""From a request to what a WSGI app is told of it: the environ (PEP 3333). Pure."""

from typing import Any, Final
from urllib.parse import unquote_to_bytes

from blazeio.gateways.scope import RequestFacts, find_raw_path, is_below
from blazeio.wire.field_lines import BoundedCache
from blazeio.wire.headers import Headers

SERVER_SOFTWARE: Final = "blazeio"

# From a name in lower case to its variable; "" for one that must not become one.
_cached_names: Final[BoundedCache[str, str]] = BoundedCache(256)
_LONGEST_NAME_BYTES: Final = 64


def make_environ(facts: RequestFacts, root_path: str) -> dict[str, Any]:
    """Return the variables of a request, without those of ``wsgi.``.

    A field whose name holds an underscore becomes no variable: it would pose as the
    one with a hyphen (``X_Forwarded_For``).

    Args:
        facts: Of the request.
        root_path: What a proxy took away in front of the path, or what the app is
            mounted below.
    """
    # Hot: runs once per request.
    client, server = facts.client, facts.server
    host, port = _name_server(server, facts.scheme)
    path, target = facts.path, facts.target
    environ = {
        "REQUEST_METHOD": facts.method,
        # Every text of an environ stands for octets, one by one as latin-1 (PEP 3333,
        # "Unicode Issues"). The framework decodes them as UTF-8.
        "SCRIPT_NAME": root_path and root_path.encode().decode("latin-1"),
        "PATH_INFO": (
            path
            if not root_path and path.isascii()
            else _find_path_info(facts, root_path)
        ),
        "QUERY_STRING": facts.query,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/" + facts.http_version,
        "SERVER_SOFTWARE": SERVER_SOFTWARE,
        "REMOTE_ADDR": "" if client is None else client[0],
        "REMOTE_PORT": "" if client is None else str(client[1]),
    }
    _add_fields(environ, facts.headers)
    return environ


def move_prefix(environ: dict[str, Any], prefix: str) -> None:
    """Move the beginning of the path to what is in front of the app.

    Args:
        environ: Whose path begins with the prefix.
        prefix: Where the app is mounted.
    """
    octets = prefix.encode().decode("latin-1")
    environ["SCRIPT_NAME"] += octets
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(octets)


def _add_fields(environ: dict[str, Any], headers: Headers) -> None:
    """Repeated fields are joined by a comma, cookies as RFC 6265 section 5.4 has it."""
    recent = _cached_names.recent
    for name, value in headers.as_tuple():
        variable = recent.get(name)
        if variable is None:
            variable = _find_variable(name)
        if not variable:
            continue
        if variable in environ:
            separator = "; " if name == "cookie" else ","
            value = f"{environ[variable]}{separator}{value}"
        environ[variable] = value


def _find_variable(name: str) -> str:
    known = _cached_names.recall(name)
    if known is None:
        known = name.upper().replace("-", "_")
        if "_" in name:
            known = ""
        elif name not in ("content-type", "content-length"):
            known = "HTTP_" + known
        if len(name) <= _LONGEST_NAME_BYTES:
            _cached_names.keep(name, known)
    return known


def _find_path_info(facts: RequestFacts, root_path: str) -> str:
    """The path below the app: its decoded octets as latin-1."""
    path = facts.path
    if root_path and is_below(path, root_path):
        path = path[len(root_path) :]
        if path.isascii():
            return path
        raw = unquote_to_bytes(find_raw_path(facts.target, facts.path))
        return raw[len(root_path.encode()) :].decode("latin-1")
    if path.isascii():
        return path
    raw = find_raw_path(facts.target, facts.path)
    return unquote_to_bytes(raw).decode("latin-1")


def _name_server(server: tuple[str, int | None] | None, scheme: str) -> tuple[str, str]:
    """Name and port are never empty (PEP 3333, "environ Variables")."""
    usual = "443" if scheme == "https" else "80"
    if server is None:
        return "localhost", usual
    host, port = server
    return host, usual if port is None else str(port)
