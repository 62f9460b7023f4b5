import runpy
from collections.abc import Callable, Iterator

import httpx
import pytest

from blazeio.app.app import App
from blazeio.testing import TestServer
from tests.support.tree import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "json_api.py"
WHO = {"Authorization": "Bearer letmein"}


@pytest.fixture
def client(serve_app: Callable[[App], TestServer]) -> Iterator[httpx.Client]:
    """Of a fresh copy of the example."""
    server = serve_app(runpy.run_path(str(EXAMPLE))["web"])
    with httpx.Client(base_url=f"{server.url}/api", headers=WHO) as client:
        yield client


def test_a_note_lives(client: httpx.Client) -> None:
    added = client.post("/notes", json={"text": "buy milk"})
    assert (added.status_code, added.headers["location"]) == (201, "/api/notes/1")
    assert client.get("/notes/1").json() == added.json()
    changed = client.put("/notes/1", json={"text": "buy oats"})
    assert changed.json() == {**added.json(), "text": "buy oats"}
    assert client.get("/notes").json() == [changed.json()]
    assert client.delete("/notes/1").status_code == 204
    assert client.get("/notes").json() == []


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "text"),
    [
        ("GET", "/notes/7", "", 404, "There is no note 7"),
        ("GET", "/notes/seven", "", 404, "Not Found"),
        ("POST", "/notes", "{}", 422, "The content is not what is expected here: "),
        ("POST", "/notes", "nonsense", 400, "The content is not valid JSON: "),
        ("PATCH", "/notes/7", "{}", 405, "Method Not Allowed"),
    ],
)
def test_what_cannot_be_is_told(
    client: httpx.Client, method: str, path: str, content: str, status: int, text: str
) -> None:
    answer = client.request(method, path, content=content)
    assert answer.status_code == status
    assert answer.text.startswith(text)


def test_errors_are_json_for_who_wants_it(client: httpx.Client) -> None:
    answer = client.get("/notes/7", headers={"Accept": "application/json"})
    assert answer.json() == {"error": "There is no note 7"}


def test_strangers_are_kept_out(client: httpx.Client) -> None:
    answer = client.get("/notes", headers={"Authorization": "Bearer guess"})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_large_note_is_refused(client: httpx.Client) -> None:
    assert client.post("/notes", content=b"x" * 10_001).status_code == 413
