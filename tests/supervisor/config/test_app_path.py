import re

import pytest

from blazeio_supervisor.config.command_line import AppPath, parse_app_path
from blazeio_supervisor.worker.starting import is_app_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("app:web", AppPath("app:web", "app", "web")),
        ("a.b:c.d", AppPath("a.b:c.d", "a.b", "c.d")),
        ("app", AppPath("app", "app")),
        ("a.b", AppPath("a.b", "a.b")),
        ("app.py", AppPath("app.py", script="app.py")),
        ("/srv/my-app.py", AppPath("/srv/my-app.py", script="/srv/my-app.py")),
    ],
)
def test_an_app_is_a_module_with_or_without_an_attribute_or_a_script(
    text: str, path: AppPath
) -> None:
    assert parse_app_path(text) == path


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("my-app", "write `module:attribute`"),
        ("app.py:web", "write `app:web` or `app.py`"),
        ("./a/b.py:web", "write `a.b:web` or `./a/b.py`"),
        ("app:", "'' is not a Python name"),
        (":web", "'' is not a Python name"),
        ("my-app:web", "'my-app' is not a Python name"),
        ("app:make()", "'make()' is not a Python name"),
    ],
)
def test_what_is_no_app_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        parse_app_path(text)


@pytest.mark.parametrize(
    ("word", "is_one"), [("app:web", True), ("a.py", True), ("status", False)]
)
def test_an_app_is_told_from_a_verb_by_its_look(word: str, is_one: bool) -> None:
    assert is_app_path(word) is is_one
