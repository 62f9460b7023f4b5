import click
import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.command_line import SECTIONS, read_settings
from blazeio_supervisor.settings import Settings

OPTIONS = [option for section in SECTIONS for option in section.options]
DEFAULTS = {
    option.name: () if option.multiple else option.default for option in OPTIONS
}


def test_what_is_not_given_is_as_the_settings_say() -> None:
    settings = read_settings("app:web", DEFAULTS)
    plain = Settings(
        app=settings.app,
        workers=settings.workers,
        binds=(),
        folder=settings.folder,
        app_dir=settings.app_dir,
    )
    assert settings == plain


def test_no_app_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="APP is missing: write `blazeio-supervisor"):
        read_settings(None, DEFAULTS)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.opts[0])
def test_each_option_says_what_it_does_and_what_it_takes(option: click.Option) -> None:
    assert len((option.help or "").split()) > 2
    assert option.metavar
