import os

import pytest

from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.master.forkservers import describe_loading, make_load


def test_a_generation_is_loaded_with_its_settings() -> None:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=2,
        binds=(),
        folder="/srv",
        graceful_timeout_s=7.0,
        umask=0o27,
    )
    load = make_load(settings, 3, is_preload=True)
    assert (load.generation, load.app, load.folder) == (3, "app:web", "/srv")
    assert (load.graceful_timeout_s, load.umask) == (7.0, 0o27)
    assert load.is_preload
    assert load.master_pid == os.getpid()


@pytest.mark.parametrize(
    ("why", "words"),
    [("", "once for all workers"), ("a script", "by each worker (a script): ")],
)
def test_who_imports_the_app_is_said_in_words(why: str, words: str) -> None:
    assert describe_loading(why).startswith(words)
