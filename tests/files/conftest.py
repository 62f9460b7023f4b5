"""A folder beside a secret, and apps of one handler."""

from pathlib import Path

import pytest

from tests.support.both_protocols import pytest_generate_tests, spoken

__all__ = ["pytest_generate_tests", "spoken"]

PAGE = "<!doctype html><p>für dich"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    (home / "page").mkdir(parents=True)
    (home / "page" / "index.html").write_text(PAGE)
    (home / "a b.txt").write_text("text")
    (tmp_path / "secret.txt").write_text("secret")
    return home
