import re

import click
import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.command_line import read_settings
from blazeio_supervisor.process.messages import Overrides
from blazeio_supervisor.settings import Settings
from tests.supervisor.typed import OPTIONS, given


def test_what_is_not_given_is_as_the_settings_say() -> None:
    settings = read_settings("app:web", given())
    plain = Settings(
        app=settings.app,
        workers=settings.workers,
        binds=(),
        folder=settings.folder,
        app_dir=settings.app_dir,
        runtime_directory=settings.runtime_directory,
    )
    assert settings == plain


def test_what_wins_over_the_app_is_kept_together() -> None:
    options = ["--certfile=c", "--max-in-flight=9", "--access-log=-"]
    settings = read_settings("app:web", given(*options, "--forwarded-allow-ips=*"))
    assert settings.overrides == Overrides(
        tls={"certfile": "c"},
        limits={"in_flight": 9},
        access_log="-",
        forwarded_allow_ips="*",
    )


def test_no_app_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="APP is missing: write `blazeio-supervisor"):
        read_settings(None, given())


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_each_option_says_what_it_does_and_what_it_takes(option: click.Option) -> None:
    assert len((option.help or "").split()) > 1
    assert option.metavar or option.is_flag


def test_each_option_that_a_help_text_names_exists() -> None:
    named = {
        word
        for option in OPTIONS
        for word in re.findall(r"--[a-z][a-z-]+", option.help or "")
    }
    assert named <= {option.opts[0] for option in OPTIONS}
