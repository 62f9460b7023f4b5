import logging
import os
import threading
from pathlib import Path

import pytest

from blazeio_supervisor.log import setup
from blazeio_supervisor.log.setup import LineHandler, write_all


def make_record(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("a", level, "", 0, text, None, None)


def test_a_record_is_one_write() -> None:
    receiver, sender = os.pipe2(os.O_DIRECT)  # keeps writes apart
    LineHandler(sender).emit(make_record("one\ntwo"))
    assert os.read(receiver, 100) == b"one\ntwo\n"
    os.close(receiver)
    os.close(sender)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3)],
)
def test_for_the_journal_each_line_has_its_priority(
    tmp_path: Path, level: int, priority: int
) -> None:
    with (tmp_path / "log").open("wb") as file:
        LineHandler(file.fileno(), is_journal=True).emit(make_record("a\nb", level))
    written = (tmp_path / "log").read_text()
    assert written == f"<{priority}>a\n<{priority}>b\n"


def test_what_cannot_be_written_is_lost_and_nobody_fails() -> None:
    receiver, sender = os.pipe()
    os.close(receiver)
    LineHandler(sender).emit(make_record("into the void"))
    write_all(sender, b"again")
    os.close(sender)


def test_a_record_that_cannot_be_encoded_is_escaped(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        LineHandler(file.fileno()).emit(make_record("\udcff"))
    assert (tmp_path / "log").read_text() == "\\udcff\n"


def test_a_pipe_that_somebody_made_non_blocking_is_waited_for() -> None:
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)  # by whoever shares it
    octets = b"x" * 1_000_000
    read: list[bytes] = []

    def take() -> None:
        while len(b"".join(read)) < len(octets):
            read.append(os.read(receiver, 65536))

    thread = threading.Thread(target=take)
    thread.start()
    write_all(sender, octets)
    thread.join()
    assert b"".join(read) == octets
    os.close(receiver)
    os.close(sender)


def test_where_nobody_reads_the_rest_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "UNREAD_S", 0.01)
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    write_all(sender, b"x" * 1_000_000)
    assert os.read(receiver, 10) == b"x" * 10
    os.close(receiver)
    os.close(sender)
