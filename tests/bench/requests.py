"""Requests that are measured without wrk, by name; each is asked of the same app."""

import os
import tempfile
from pathlib import Path

from tests.bench.case_servers import FILE_BYTES, FILE_NAME
from tests.bench.measures import COOKIE, FIELDS

UNIQUE_COUNT = 4096
"""So many distinct queries: more than any memo of lines or sections holds."""


def make_request(path: str = "/", *fields: str, method: str = "GET") -> bytes:
    """One head, with a Host."""
    lines = [f"{method} {path} HTTP/1.1", "Host: www.example.com", *fields]
    return "\r\n".join([*lines, "\r\n"]).encode()


BODY = b'{"items":[%b]}' % b",".join([b'{"name":"item","price":1234}'] * 34)
REQUESTS: dict[str, list[bytes]] = {
    "hello": [make_request()],
    "12 fields": [make_request("/", *FIELDS)],
    "cookie": [make_request("/", *FIELDS, COOKIE)],
    "cookies": [make_request("/", *FIELDS, f"{COOKIE}{n}") for n in range(256)],
    "authorization": [make_request("/", *FIELDS, "Authorization: Bearer " + "x" * 64)],
    "query": [make_request(f"/?n={n}") for n in range(UNIQUE_COUNT)],
    "parameters": [make_request("/users/7/posts/9")],
    "post 1 KB": [
        make_request("/orders", f"Content-Length: {len(BODY)}", method="POST") + BODY
    ],
    "file from memory": [make_request(f"/{FILE_NAME}")],
    "file from folder": [make_request(f"/folder/{FILE_NAME}")],
    "pipelined": [make_request() * 16],
}
"""By name, what one connection after the other asks."""
ANSWERS = {"pipelined": 16}
"""How many answers one of them has; else one."""


def prepare_folder() -> tempfile.TemporaryDirectory[str]:
    """Make the folder of the app; it must be imported after that."""
    folder = tempfile.TemporaryDirectory(prefix="bench-")
    Path(folder.name, FILE_NAME).write_bytes(b"x" * FILE_BYTES)
    os.environ["BENCH_FOLDER"] = folder.name
    return folder
