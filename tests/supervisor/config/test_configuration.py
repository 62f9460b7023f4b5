from pathlib import Path

from tests.supervisor.typed import configure, look_for_sources, read_settings


def test_command_line_then_environment_then_file_then_default(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text(
        "workers = 2\ntimeout = 2\ndrain_idle = 2\napp = 'app:web'\n"
    )
    environ = {"BLAZEIO_WORKERS": "3", "BLAZEIO_TIMEOUT": "3"}
    settings = configure(
        "--workers=4", environ=environ, folder=tmp_path
    ).make_settings()
    assert (settings.workers, settings.timeout_s) == (4, 3.0)
    assert (settings.drain_idle_s, settings.boot_timeout_s) == (2.0, 60.0)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("workers = 2\n")
    environ = {"BLAZEIO_CONFIG": f"{tmp_path}/x.toml"}
    assert read_settings(environ=environ).workers == 2


def test_reading_again_gives_what_the_file_says_by_then(tmp_path: Path) -> None:
    (tmp_path / "blazeio.toml").write_text("workers = 2\n")
    sources = look_for_sources("app:web", folder=tmp_path)
    assert sources.read().make_settings().workers == 2
    (tmp_path / "blazeio.toml").write_text("workers = 3\n")
    assert sources.read().make_settings().workers == 3


def test_what_wins_over_the_app_is_kept_together() -> None:
    settings = read_settings("--certfile=c", "--max-in-flight=9", "--access-log=-")
    assert settings.overrides.tls == {"certfile": "c"}
    assert settings.overrides.limits == {"in_flight": 9}
    assert settings.overrides.access_log == "-"
