import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from blazeio_supervisor.observe.logs import (
    FRAMES_KEPT_CHARS,
    FramesPrinter,
    LineFormatter,
    configure_logs,
    logs_configured,
)


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


def test_a_line_has_time_level_and_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bare_logger():
        configure_logs("INFO")
        logging.getLogger("blazeio.master").info("event=ready slot=0")
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} INFO    event=ready slot=0\n",
        line,
    )


def test_what_is_below_the_level_is_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bare_logger():
        configure_logs("WARNING")
        logging.getLogger("blazeio.master").info("hidden")
    assert capsys.readouterr().err == ""


def test_configuring_twice_prints_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bare_logger() as logger:
        configure_logs("INFO")
        configure_logs("INFO")
        logger.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_what_was_configured_for_a_while_leaves_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with bare_logger() as logger:
        before = logger.handlers[:], logger.level, logger.propagate
        with logs_configured("INFO"):
            logger.info("shown")
        assert (logger.handlers[:], logger.level, logger.propagate) == before
    assert capsys.readouterr().err.endswith(" INFO    shown\n")


@pytest.mark.parametrize("name", ["", "blazeio"])
def test_an_app_that_configured_logging_is_left_alone(name: str) -> None:
    handler = logging.NullHandler()
    with bare_logger() as logger:
        logging.getLogger(name or None).addHandler(handler)
        configure_logs("INFO")
        assert logger.handlers == ([handler] if name else [])


def test_the_same_traceback_is_noted_once_in_a_row(
    caplog: pytest.LogCaptureFixture,
) -> None:
    printer = FramesPrinter()
    for frames in ("one\n", "one\n", "", "two\n", "one\n"):
        printer.print(frames, 1)
    said = [message.partition("\n")[2] for message in caplog.messages]
    assert said == ["one", "two", "one"]


def test_a_later_generation_says_the_same_anew(
    caplog: pytest.LogCaptureFixture,
) -> None:
    printer = FramesPrinter()
    printer.print("one\n", 1)
    printer.print("one\n", 2)
    assert len(caplog.messages) == 2
    assert (printer.said_by(1), printer.said_by(2)) == ("", "one\n")


def test_what_an_old_generation_says_late_is_printed_but_not_kept() -> None:
    printer = FramesPrinter()
    for generation, frames in ((2, "new\n"), (1, "old\n"), (2, "newer\n")):
        printer.print(frames, generation)
    assert printer.said_by(2) == "new\nnewer\n"


def test_what_is_kept_of_a_generation_is_bounded() -> None:
    printer = FramesPrinter()
    for number in range(3):
        printer.print(str(number) * FRAMES_KEPT_CHARS, 1)
    assert printer.said_by(1) == "0" * FRAMES_KEPT_CHARS


def test_the_time_is_local_with_its_offset() -> None:
    record = logging.LogRecord("a", logging.INFO, "", 0, "", None, None)
    record.created, record.msecs = 0.0, 7.0
    text = LineFormatter().formatTime(record)
    assert re.fullmatch(r"(1970-01-01|1969-12-31)T\S{8}\.007[+-]\d{4}", text)
