"""The upload example, and what foreign clients send to it."""

import asyncio
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests

from tests.content.bodies import BOUNDARY, form, part
from tests.examples.nginx_front import nginx_before
from tests.support.clock import block_until, scaled
from tests.support.live import LiveServer, LiveServers
from tests.support.programs import find_program
from tests.support.served import serialize_request
from tests.support.tree import REPOSITORY
from tests.support.variations import vary

EXAMPLE = (REPOSITORY / "examples" / "upload.py").read_text()
OCTETS = bytes(range(256)) * 4096  # 1 MiB, with every octet and many line ends
NAME = "für dich.bin"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SENT = {
    "title": "Urlaub, schön",
    "filename": NAME,
    "size": len(OCTETS),
    "sha256": hashlib.sha256(OCTETS).hexdigest(),
}

pytestmark = pytest.mark.slow


@pytest.fixture
def server(live_server: LiveServers, tmp_path: Path) -> LiveServer:
    (tmp_path / "app.py").write_text(EXAMPLE.replace("8000", "0"))
    return live_server.start(["python", "app.py"], cwd=tmp_path)


Send = Callable[[str, Path], dict[str, object]]


def by_curl(url: str, path: Path) -> dict[str, object]:
    command = [
        "curl",
        "-sS",
        "-F",
        f"title={SENT['title']}",
        "-F",
        f"file=@{path}",
        url,
    ]
    done = subprocess.run(command, capture_output=True, timeout=scaled(10), check=True)
    return dict(json.loads(done.stdout))


def by_httpx(url: str, path: Path) -> dict[str, object]:
    with path.open("rb") as file:
        files = {"file": (path.name, file)}
        answer = httpx.post(url, data={"title": SENT["title"]}, files=files)
    return dict(answer.json())


def by_requests(url: str, path: Path) -> dict[str, object]:
    with requests.Session() as session, path.open("rb") as file:
        answer = session.post(url, data={"title": SENT["title"]}, files={"file": file})
        return dict(answer.json())


def by_aiohttp(url: str, path: Path) -> dict[str, object]:
    async def send() -> dict[str, object]:
        fields = aiohttp.FormData(quote_fields=False)  # else it percent-encodes names
        fields.add_field("title", str(SENT["title"]))
        fields.add_field("file", path.read_bytes(), filename=path.name)
        async with (
            aiohttp.ClientSession() as session,
            session.post(url, data=fields) as answer,
        ):
            return dict(await answer.json())

    return asyncio.run(send())


def by_wget(url: str, path: Path) -> dict[str, object]:
    body = path.parent / "body"
    file = part(f'name="f"; filename="{path.name}"', path.read_bytes())
    title = part('name="title"', str(SENT["title"]))
    body.write_bytes(form(title, file))
    command = [find_program("wget"), "-q", "-O", "-", f"--post-file={body}"]
    command += [f"--header={name}: {value}" for name, value in FORM.items()]
    done = subprocess.run(
        [*command, url], capture_output=True, timeout=scaled(10), check=True
    )
    return dict(json.loads(done.stdout))


@vary("send", [by_curl, by_wget, by_httpx, by_requests, by_aiohttp], usual=2)
def test_a_foreign_client_uploads_a_file(
    server: LiveServer, tmp_path: Path, send: Send
) -> None:
    source = tmp_path / NAME
    source.write_bytes(OCTETS)
    assert send(f"http://127.0.0.1:{server.port}/upload", source) == SENT
    assert (tmp_path / "uploads" / NAME).read_bytes() == OCTETS


@pytest.mark.long
def test_nginx_in_front_hands_uploads_on_as_they_arrive(
    server: LiveServer, tmp_path: Path
) -> None:
    nginx = find_program("nginx")
    title, file = part('name="title"', "t"), part('name="f"; filename="a"', OCTETS)
    refused = {**FORM, "Content-Length": "999999999"}
    with nginx_before(nginx, server.port, tmp_path) as peer:
        for _ in range(3):
            peer.send(serialize_request("POST", "/upload", form(title, file), FORM))
            answer = peer.read_response()
            assert json.loads(answer.body)["sha256"] == SENT["sha256"]
        peer.send(serialize_request("POST", "/upload", None, refused) + file[:9999])
        assert peer.read_response().text == "A title, before the file"


def test_the_page_has_the_form_and_a_progress_bar(server: LiveServer) -> None:
    page = server.exchange(serialize_request("GET", "/")).decode()
    assert "upload.onprogress" in page
    assert page.index('name="title"') < page.index('name="file"')


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (part('name="title"', " "), "A title, before the file"),
        (part('name="f"; filename="a"', "x"), "A title, before the file"),
    ],
)
def test_an_invalid_form_is_refused_before_its_file_arrives(
    server: LiveServer, parts: bytes, text: str
) -> None:
    head = serialize_request(
        "POST", "/upload", None, {**FORM, "Content-Length": "999999"}
    )
    unfinished = part('name="file"; filename="b"', "x" * 9999)
    with server.connect() as peer:
        peer.send(head + parts + unfinished)
        answer = peer.read_response()
    assert (answer.status, answer.text) == (400, text)


def test_a_file_that_stays_away_is_refused(server: LiveServer) -> None:
    body = part('name="title"', "t") + f"--{BOUNDARY}--\r\n".encode()
    with server.connect() as peer:
        peer.send(serialize_request("POST", "/upload", body, FORM))
        assert peer.read_response().text == "No file"


def test_of_an_upload_that_breaks_off_nothing_stays(
    server: LiveServer, tmp_path: Path
) -> None:
    folder = tmp_path / "uploads"
    head = serialize_request(
        "POST", "/upload", None, {**FORM, "Content-Length": "999999"}
    )
    begun = part('name="title"', "t") + part('name="f"; filename="a"', "x" * 9999)
    with server.connect() as peer:
        peer.send(head + begun)
        block_until(lambda: folder.exists() and list(folder.iterdir()))
    block_until(lambda: not list(folder.iterdir()))


def test_a_name_that_is_a_path_stays_in_the_folder(
    server: LiveServer, tmp_path: Path
) -> None:
    file = part('name="f"; filename="../../evil.txt"', "x")
    body = part('name="title"', "t") + file + f"--{BOUNDARY}--\r\n".encode()
    with server.connect() as peer:
        peer.send(serialize_request("POST", "/upload", body, FORM))
        assert json.loads(peer.read_response().body)["filename"] == "evil.txt"
    assert [each.name for each in (tmp_path / "uploads").iterdir()] == ["evil.txt"]
