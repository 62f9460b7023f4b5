from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.errors import UsageError
from tests.supervisor.copies import copy
from tests.supervisor.typed import look_for_sources


def write(folder: Path, text: str) -> None:
    (folder / "blazeio.toml").write_text(text)


def make(folder: Path, *words: str) -> LiveSettings:
    return LiveSettings.read(look_for_sources("app:web", *words, folder=folder))


def test_what_is_read_again_is_in_force_once_it_is_taken(tmp_path: Path) -> None:
    live_settings = make(tmp_path)
    write(tmp_path, "timeout = 7\n")
    other = live_settings.read_again()
    assert (live_settings.settings.timeout_s, other.settings.timeout_s) == (30, 7)
    live_settings.take(other)
    assert live_settings.settings.timeout_s == 7
    assert live_settings.configuration.given["timeout_s"].origin.endswith(
        "blazeio.toml"
    )


def test_a_file_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    live_settings = make(tmp_path)
    write(tmp_path, "timeout = 0\n")
    with pytest.raises(UsageError, match="timeout = 0"):
        live_settings.read_again()
    assert live_settings.settings.timeout_s == 30


def test_what_needs_a_restart_is_kept_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live_settings = make(tmp_path, "--workers=2")
    write(tmp_path, "name = 'b'\nbind = ':1'\nworkers = 3\ntimeout = 7\n")
    settings = live_settings.read_again().settings
    assert (settings.name, settings.binds) == ("", ())
    assert (settings.workers, settings.timeout_s) == (2, 7)
    assert live_settings.needs_restart == ("name", "bind")
    assert "event=needs_restart name, bind: changed" in caplog.text
    write(tmp_path, "timeout = 7\n")
    live_settings.read_again()
    assert not live_settings.needs_restart


def test_also_what_needs_a_restart_must_be_right(tmp_path: Path) -> None:
    live_settings = make(tmp_path)
    write(tmp_path, "bind = [':1', ':1']\n")
    with pytest.raises(UsageError, match="is given twice"):
        live_settings.read_again()


def test_an_app_may_change(tmp_path: Path) -> None:
    write(tmp_path, "app = 'a:b'\n")
    live_settings = LiveSettings.read(look_for_sources(folder=tmp_path))
    write(tmp_path, "app = 'c:d'\n")
    assert live_settings.read_again().settings.app.text == "c:d"


def test_a_copy_has_the_same_and_reads_the_same(tmp_path: Path) -> None:
    write(tmp_path, "timeout = 7\nbind = [':1']\n")
    before = make(tmp_path, "--no-preload", "--bind=:2", "--bind=unix:/a")
    write(tmp_path, "timeout = 8\ndrain_idle = 3\n")
    other = copy(before)
    assert other.settings == before.settings
    assert other.configuration == before.configuration
    assert (other.settings.timeout_s, other.settings.preload) == (7, False)
    again = other.read_again().settings
    assert other.needs_restart == ()
    assert again.timeout_s == 8
    assert again.binds == before.settings.binds


def test_what_the_other_one_did_not_know_has_its_default(tmp_path: Path) -> None:
    octets = msgspec.msgpack.encode(make(tmp_path, "--timeout=9"))
    known = msgspec.msgpack.decode(octets)
    given = known["configuration"]["given"]
    del given["timeout_s"], known["settings"]["timeout_s"]
    given["gone_s"] = {"value": 1, "written": 1, "origin": "--gone", "label": ""}
    other = msgspec.convert(known, LiveSettings)
    assert other.settings.timeout_s == 30
    assert other.configuration.given["timeout_s"].is_default
    assert "gone_s" not in other.configuration.given


def test_a_master_that_went_elsewhere_reads_the_same_file_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "x.toml").write_text("workers = 2\n")
    monkeypatch.chdir(tmp_path)
    words = ["--config=x.toml", "--control=c.sock", "--chdir=there"]
    live_settings = make(tmp_path, *words)
    place = live_settings.settings.control
    monkeypatch.chdir(tmp_path / "there")
    settings = live_settings.read_again().settings
    assert not live_settings.needs_restart
    assert (settings.workers, settings.control) == (2, place)
