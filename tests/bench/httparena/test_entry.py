"""The requests by which HttpArena validates an entry, on the entry itself."""

import json
import random
import re
import socket
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.support.live import LiveServers
from tests.support.tls_peer import Certificates

HERE = Path(__file__).parent
ITEMS = [
    {
        "id": number,
        "name": f"Widget {number}",
        "category": "tools",
        "price": 7 * number,
        "quantity": number % 5,
        "active": bool(number % 2),
        "tags": ["new", "fast"],
        "rating": {"score": number, "count": 100 - number},
    }
    for number in range(1, 51)
]
STATIC = {
    "reset.css": ("text/css", "body { margin: 0 }\n" * 100),
    "app.js": ("text/javascript", "let a = 1;\n" * 100),
    "manifest.json": ("application/json", "{}"),
}


class Entry:
    """The entry, as its Dockerfile starts it, at a loopback address of its own."""

    plain, tls, h2c, h2 = 18080, 18081, 18082, 18443

    def __init__(self, host: str, certificates: Certificates) -> None:
        self.host = host
        self._context = certificates.client_context()

    def client(self, port: int, *, http2: bool = False) -> httpx.Client:
        scheme = "https" if port in (self.tls, self.h2) else "http"
        return httpx.Client(
            base_url=f"{scheme}://{self.host}:{port}",
            http1=not http2,
            http2=http2,
            verify=self._context,
            headers={"Accept-Encoding": "identity"},
        )


@pytest.fixture
def entry(live_server: LiveServers, tmp_path: Path) -> Entry:
    (tmp_path / "dataset.json").write_text(json.dumps(ITEMS))
    (tmp_path / "static").mkdir()
    for name, (_, text) in STATIC.items():
        (tmp_path / "static" / name).write_text(text)
    host = f"127.{random.randrange(1, 255)}.{random.randrange(255)}.2"
    certificates = Certificates(tmp_path)
    certificates.issue("localhost", host).rename(tmp_path / "server.pem")
    words = re.findall(r'"([^"]+)"', (HERE / "Dockerfile").read_text())
    words = [each.replace("://:8", f"://{host}:18") for each in words]
    pem = str(tmp_path / "server.pem")
    words[words.index("--certfile") + 1 :] = [pem, "--app-dir", str(HERE)]
    live_server.start(
        [*words, "--workers", "2"],
        env={
            "DATASET_PATH": str(tmp_path / "dataset.json"),
            "STATIC_PATH": str(tmp_path / "static"),
            "H2C_PORT": str(Entry.h2c),
        },
    )
    return Entry(host, certificates)


def check_sums(client: httpx.Client, path: str) -> None:
    a, b = random.sample(range(100, 1000), 2)
    for first, second in ((13, 42), (a, b)):
        answer = client.get(path, params={"a": first, "b": second})
        assert answer.text == str(first + second)
        assert answer.headers["content-type"].startswith("text/plain")


def check_items(client: httpx.Client) -> None:
    for count, factor in ((12, 3), (22, 7), (31, 2), (50, 5)):
        answer = client.get(f"/json/{count}", params={"m": factor})
        assert answer.headers["content-type"] == "application/json"
        expected = [
            each
            | {"total": int(str(each["price"])) * int(str(each["quantity"])) * factor}
            for each in ITEMS[:count]
        ]
        assert answer.json() == {"items": expected, "count": count}


def check_files(client: httpx.Client) -> None:
    for name, (content_type, text) in STATIC.items():
        answer = client.get(f"/static/{name}")
        assert answer.headers["content-type"].startswith(content_type)
        assert answer.text == text
        coded = client.get(f"/static/{name}", headers={"Accept-Encoding": "br, gzip"})
        assert coded.text == text
    assert client.get("/static/nonexistent.txt").status_code == 404


@pytest.mark.long
@pytest.mark.slow
def test_plain(entry: Entry) -> None:
    with entry.client(entry.plain) as client:
        check_sums(client, "/baseline11")
        for body in (b"20", b"731"):
            for content in (body, iter([body[:1], body[1:]])):  # with a length, chunked
                answer = client.post("/baseline11?a=13&b=42", content=content)
                assert answer.text == str(55 + int(body))
        assert client.get("/pipeline").text == "ok"
        check_items(client)
        check_files(client)
        assert client.get("/delay/20").text == "ok"
        assert client.post("/echo", content=b"again").text == "again"
        assert "content-encoding" not in client.get("/json/50?m=1").headers
        coded = client.get("/json/50?m=1", headers={"Accept-Encoding": "gzip, br"})
        assert coded.headers["content-encoding"] in {"gzip", "br"}
        assert coded.json()["count"] == 50


@pytest.mark.long
def test_an_upload_is_counted(entry: Entry) -> None:
    with entry.client(entry.plain) as client:
        for size in (17, 512_000, 20_971_520):
            assert client.post("/upload", content=b"x" * size).text == str(size)


@pytest.mark.long
def test_a_head_in_pieces(entry: Entry) -> None:
    with socket.create_connection((entry.host, entry.plain)) as peer:
        for piece in (
            b"GET /baseli",
            b"ne11?a=13&b=42 HTTP/1.1\r\n",
            b"Host: localhost\r\nConnection: close\r\n\r\n",
        ):
            peer.sendall(piece)
        answer = b"".join(iter(lambda: peer.recv(4096), b""))
    assert answer.endswith(b"\r\n\r\n55")


@pytest.mark.long
def test_tls_and_http2(entry: Entry) -> None:
    with entry.client(entry.tls) as client:
        check_items(client)
    with entry.client(entry.h2, http2=True) as client:
        assert client.get("/baseline2").http_version == "HTTP/2"
        check_sums(client, "/baseline2")
        check_files(client)
    with entry.client(entry.h2c, http2=True) as client:
        assert client.get("/json/1?m=1").http_version == "HTTP/2"
        check_sums(client, "/baseline2")
        check_items(client)
    with entry.client(entry.h2c) as client:  # this port is for HTTP/2 alone
        assert client.get("/baseline2?a=1&b=1").status_code == 426
        assert client.get("/json/1?m=1").status_code == 426


@pytest.mark.long
def test_messages_come_back(entry: Entry) -> None:
    url = f"ws://{entry.host}:{entry.plain}/ws"
    with connect(url, proxy=None) as ws:
        messages: list[str | bytes] = ["Hello", b"\x00\x01\xff", *map(str, range(5))]
        for message in messages:
            ws.send(message)
            assert ws.recv(timeout=10) == message
        assert ws.ping().wait(10)
    with entry.client(entry.plain) as client:
        assert client.get("/ws").status_code in {400, 426}
    with (
        pytest.raises(InvalidStatus),
        connect(url.replace("/ws", "/pipeline"), proxy=None),
    ):
        pass
