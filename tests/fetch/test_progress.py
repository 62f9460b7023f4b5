import io
import sys

import pytest

from blazeio.__main__ import shown_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown_progress("data.bin", is_quiet=False) as report:
        assert report is not None
        report(500_000, 1_000_000)
        report(1_000_000, 1_000_000)
    assert "data.bin" in terminal.getvalue()
    assert "1.0/1.0 MB" in terminal.getvalue()


def test_nothing_is_shown_to_who_wants_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with shown_progress("data.bin", is_quiet=True) as report:
        assert report is None
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with shown_progress("data.bin", is_quiet=False) as report:
        assert report is None
