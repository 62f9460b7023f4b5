import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from blazeio.errors import Abort
from blazeio.files.delivery import (
    OpenedFile,
    identify,
    is_public,
    list_names,
    names_source,
    open_any,
    open_file,
)
from tests.files.conftest import PAGE


def content_of(home: Path, path: str) -> str | None:
    opened = open_file(str(home), path)
    if opened is None:
        return None
    with opened.file as file:
        return file.read().decode()


def test_a_file_below_the_folder_is_opened(home: Path) -> None:
    assert content_of(home, "/page/index.html") == PAGE


def test_what_is_known_of_it_is_that_of_the_opened_file(home: Path) -> None:
    opened = open_file(str(home), "/page/index.html")
    assert isinstance(opened, OpenedFile)
    opened.file.close()
    assert opened.size_bytes == len(PAGE.encode())
    assert opened.identity == identify(str(home), "/page/index.html")


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/page/../../secret.txt",
        "/page/../page/index.html",
        "/./page/index.html",
        "/..",
        "/page/..",
        "//etc/passwd",
        "/page//index.html",
        "/page/index.html/",
        "/page/index.html\0",
        "/page/index.html\0.txt",
        "\0",
        "secret.txt",
        "page/index.html",
        "../secret.txt",
        "*",
        "",
        "/",
    ],
)
def test_no_path_leads_out_and_no_file_has_two(home: Path, path: str) -> None:
    assert content_of(home, path) is None


@pytest.mark.parametrize("name", [".env", ".git/config", "a/.hidden", ".well-knowns"])
def test_hidden_files_are_not_there(home: Path, name: str) -> None:
    (home / name).parent.mkdir(parents=True, exist_ok=True)
    (home / name).write_text("secret")
    assert content_of(home, f"/{name}") is None


@pytest.mark.parametrize("name", ["app.py", "app.PY", "__pycache__/app.txt", "a.pyc"])
def test_python_code_is_known_by_its_name(name: str) -> None:
    assert names_source(f"/{name}")
    assert not names_source(f"/{name}.html".replace("__pycache__/", "cache/"))


def test_well_known_files_are_there(home: Path) -> None:
    (home / ".well-known").mkdir()
    (home / ".well-known" / "security.txt").write_text("us")
    assert content_of(home, "/.well-known/security.txt") == "us"
    assert content_of(home, "/page/.well-known") is None


def test_a_link_out_leads_nowhere(home: Path, tmp_path: Path) -> None:
    (home / "file").symlink_to(tmp_path / "secret.txt")
    (home / "folder").symlink_to(tmp_path)
    assert content_of(home, "/file") is None
    assert content_of(home, "/folder/secret.txt") is None


def test_a_link_to_a_folder_with_the_same_beginning_leads_nowhere(
    home: Path, tmp_path: Path
) -> None:
    other = tmp_path / "home-of-another"
    other.mkdir()
    (other / "x").write_text("secret")
    (home / "link").symlink_to(other)
    assert content_of(home, "/link/x") is None


def test_a_link_within_is_followed(home: Path) -> None:
    (home / "link").symlink_to(home / "page")
    assert content_of(home, "/link/index.html") == PAGE


def test_the_root_folder_can_be_home(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    assert content_of(Path("/"), str(tmp_path / "x")) == "x"


def test_what_is_no_file_is_not_there(home: Path) -> None:
    os.mkfifo(home / "pipe")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(home / "sock"))
    for path in ("/pipe", "/sock", "/page"):
        assert content_of(home, path) is None


@pytest.mark.parametrize("path", ["/" + "x" * 300, "/" + "x/" * 3000 + "x", "/\ud800"])
def test_a_name_that_no_file_can_have_is_not_there(home: Path, path: str) -> None:
    assert content_of(home, path) is None
    assert identify(str(home), path) is None


def test_a_path_is_not_decoded_again(home: Path) -> None:
    assert content_of(home, "/%2e%2e/secret.txt") is None
    (home / "%2e").write_text("literal")
    assert content_of(home, "/%2e") == "literal"


def test_the_identity_changes_with_the_file(home: Path) -> None:
    before = identify(str(home), "/page/index.html")
    (home / "new").write_text("more of it")
    (home / "new").rename(home / "page" / "index.html")
    assert identify(str(home), "/page/index.html") not in (before, None)


@pytest.mark.parametrize("path", ["/a", "/a/b.html", "/a b/ü", "/a..b"])
def test_ordinary_names_are_public(path: str) -> None:
    assert is_public(path)


def test_any_regular_file_is_opened_by_the_app_itself(home: Path) -> None:
    opened = open_any(str(home / "page" / ".." / "page" / "index.html"))
    assert opened is not None
    with opened.file as file:
        assert file.read() == PAGE.encode()
    assert opened.modified_ns == (home / "page" / "index.html").stat().st_mtime_ns
    assert open_any(str(home)) is None
    assert open_any(str(home / "a\0b")) is None
    assert open_any("/dev/null") is None


def test_a_device_behind_a_link_is_not_there(home: Path) -> None:
    (home / "zero").symlink_to("/dev/zero")
    assert content_of(home, "/zero") is None


def test_a_folder_lists_what_is_served_of_it(home: Path, tmp_path: Path) -> None:
    (home / ".hidden").touch()
    (home / "b\nc").touch()
    (home / "a.txt").touch()
    (home / "out").symlink_to(tmp_path)
    assert list_names(str(home), "/") == ["a b.txt", "a.txt", "out/", "page/"]
    assert list_names(str(home), "/page/") == ["index.html"]


def test_a_listing_survives_links_that_lead_nowhere_good(home: Path) -> None:
    folder = home / "links"
    folder.mkdir()
    (folder / "file").touch()
    (folder / "inner").mkdir()
    (folder / "loop").symlink_to("loop")
    (folder / "one").symlink_to("two")
    (folder / "two").symlink_to("one")
    (folder / "dangling").symlink_to("nowhere")
    (folder / "long").symlink_to("x" * 300)
    (folder / "good").symlink_to("file")
    (folder / "deep").symlink_to("inner")
    os.mkfifo(folder / "pipe")
    names = list_names(str(home), "/links/")
    assert names == ["deep/", "file", "good", "inner/"]


@pytest.mark.parametrize("path", ["/a.txt/", "/out/", "//", "/../", "/x\0/", "/.git/"])
def test_what_is_no_folder_below_is_not_listed(
    home: Path, tmp_path: Path, path: str
) -> None:
    (home / ".git").mkdir()
    (home / "a.txt").touch()
    (home / "out").symlink_to(tmp_path)
    assert list_names(str(home), path) is None


@pytest.mark.parametrize(
    ("attempt", "path"), [(open_file, "/page/index.html"), (list_names, "/page/")]
)
def test_without_descriptors_a_file_is_unavailable_not_missing(
    home: Path,
    caplog: pytest.LogCaptureFixture,
    attempt: Callable[[str, str], object],
    path: str,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        with pytest.raises(Abort) as caught:
            attempt(str(home), path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert caught.value.status == 503
    assert "Too many open files" in caplog.text
