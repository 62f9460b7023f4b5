import logging
import logging.config
from collections.abc import Iterator

import pytest

from blazeio.loggers import get_logger


@pytest.fixture
def root_kept() -> Iterator[None]:
    """What dictConfig changes is given back, for the other tests of this process."""
    root = logging.getLogger()
    kept = root.handlers[:], root.level
    loggers = [
        each
        for each in logging.root.manager.loggerDict.values()
        if isinstance(each, logging.Logger)
    ]
    were_disabled = [each.disabled for each in loggers]
    yield
    root.handlers[:], root.level = kept
    for logger, was_disabled in zip(loggers, were_disabled, strict=True):
        logger.disabled = was_disabled


@pytest.mark.usefixtures("root_kept")
def test_dict_config_does_not_disable_ours(caplog: pytest.LogCaptureFixture) -> None:
    log = get_logger("blazeio.test")
    logging.config.dictConfig({"version": 1})
    assert not log.disabled
    log.addHandler(caplog.handler)
    log.error("still here")
    log.removeHandler(caplog.handler)
    assert "still here" in caplog.text


@pytest.mark.usefixtures("root_kept")
def test_an_app_may_still_say_what_is_worth_logging() -> None:
    log = get_logger("blazeio.test")
    logging.config.dictConfig(
        {"version": 1, "loggers": {"blazeio.test": {"level": "ERROR"}}}
    )
    assert not log.isEnabledFor(logging.WARNING)
    log.setLevel(logging.NOTSET)


def test_it_is_the_logger_of_that_name() -> None:
    assert get_logger("blazeio.test") is logging.getLogger("blazeio.test")
