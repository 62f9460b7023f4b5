import os
from collections.abc import Iterator

import pytest

from blazeio_supervisor.log import formats
from blazeio_supervisor.log.formats import (
    StandardError,
    look_at_standard_error,
)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Standard error is one."""
    controller, device = os.openpty()
    monkeypatch.setattr(formats, "STDERR", device)
    yield device
    os.close(controller)
    os.close(device)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(
    ("environ", "has_color"),
    [
        ({}, True),
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_has_colour_unless_somebody_says_no(
    environ: dict[str, str], has_color: bool
) -> None:
    assert look_at_standard_error(environ).has_color is has_color


def test_the_journal_is_known_by_device_and_inode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with open("/dev/null") as file:
        monkeypatch.setattr(formats, "STDERR", file.fileno())
        found = os.fstat(file.fileno())
        stream = f"{found.st_dev}:{found.st_ino}"
        ours = look_at_standard_error({"JOURNAL_STREAM": stream})
        others = look_at_standard_error({"JOURNAL_STREAM": f"{stream}0"})
    assert (ours, others) == (StandardError(is_journal=True), StandardError())


def test_one_that_is_closed_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "STDERR", 10**6)
    assert look_at_standard_error({}) == StandardError()
