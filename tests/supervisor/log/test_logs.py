import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from blazeio_supervisor.log.formats import LogConfig
from blazeio_supervisor.log.setup import (
    FRAMES_KEPT_CHARS,
    FramesPrinter,
    LoggingError,
    apply_config,
    configure_logs,
    logs_configured,
    set_level,
)
from tests.support.users import acting_as, give, need_root


@contextmanager
def bare_logger() -> Iterator[logging.Logger]:
    """The logger of the service, and the root, without any handler.

    No fixture: pytest adds handlers of its own just before the test's body.
    """
    root, ours = logging.getLogger(), logging.getLogger("blazeio")
    kept = root.handlers[:], ours.handlers[:], ours.level, ours.propagate
    root.handlers[:], ours.handlers[:] = [], []
    try:
        yield ours
    finally:
        root.handlers[:], ours.handlers[:], ours.level, ours.propagate = kept


def test_a_handler_of_root_opens_no_file_that_others_lead_it_to(
    open_folder: Path,
) -> None:
    need_root()
    target, logs = open_folder / "target", open_folder / "logs"
    target.write_text("root's")
    logs.mkdir()
    give(logs)
    with acting_as():
        (logs / "log").symlink_to(target)
    handler = {"class": "logging.FileHandler", "filename": str(logs / "log")}
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {"own": handler},
        "root": {"handlers": ["own"]},
    }
    with bare_logger(), pytest.raises(LoggingError, match=r"'own': .*nobody"):
        apply_config(LogConfig(config=config))
    assert target.read_text() == "root's"


def test_what_is_below_the_level_is_not_printed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with bare_logger():
        configure_logs(LogConfig(level="WARNING"))
        logging.getLogger("blazeio.master").info("hidden")
    assert capfd.readouterr().err == ""


def test_the_level_can_be_changed(capfd: pytest.CaptureFixture[str]) -> None:
    with bare_logger() as logger:
        configure_logs(LogConfig(level="WARNING"))
        set_level("INFO")
        logger.info("shown")
    assert capfd.readouterr().err.endswith(" shown\n")


def test_configuring_twice_prints_once(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with bare_logger() as logger:
        configure_logs(LogConfig())
        configure_logs(LogConfig())
        logger.info("once")
    assert capfd.readouterr().err.count("once") == 1


def test_what_was_configured_for_a_while_leaves_nothing(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with bare_logger() as logger:
        before = logger.handlers[:], logger.level, logger.propagate
        with logs_configured(LogConfig()):
            logger.info("shown")
        assert (logger.handlers[:], logger.level, logger.propagate) == before
    assert capfd.readouterr().err.endswith(" INFO    shown\n")


@pytest.mark.parametrize("name", ["", "blazeio"])
def test_an_app_that_configured_logging_is_left_alone(name: str) -> None:
    handler = logging.NullHandler()
    with bare_logger() as logger:
        logging.getLogger(name or None).addHandler(handler)
        configure_logs(LogConfig())
        assert logger.handlers == ([handler] if name else [])


def test_the_same_traceback_is_noted_once_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    printer = FramesPrinter()
    for frames in ("one\n", "one\n", "", "two\n", "one\n"):
        printer.print(frames, 1)
    said = [message.partition("\n")[2] for message in caplog.messages]
    assert said == ["  | one", "  | two", "  | one"]


def test_a_later_generation_says_the_same_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    printer = FramesPrinter()
    printer.print("one\n", 1)
    printer.print("one\n", 2)
    assert len(caplog.messages) == 2
    assert (printer.printed_by(1), printer.printed_by(2)) == ("", "one\n")


def test_what_an_old_generation_says_late_is_printed_but_not_kept() -> None:
    printer = FramesPrinter()
    for generation, frames in ((2, "new\n"), (1, "old\n"), (2, "newer\n")):
        printer.print(frames, generation)
    assert printer.printed_by(2) == "new\nnewer\n"


def test_what_is_kept_of_a_generation_is_bounded() -> None:
    printer = FramesPrinter()
    for number in range(3):
        printer.print(str(number) * FRAMES_KEPT_CHARS, 1)
    assert printer.printed_by(1) == "0" * FRAMES_KEPT_CHARS
