from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.process.cpus import count_cpus
from tests.supervisor.typed import configure, read_settings


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("8", 8), ("256", 256)])
def test_a_number_of_workers_is_read(text: str, count: int) -> None:
    assert read_settings("--workers", text).workers == count


@pytest.mark.parametrize("words", [["--workers=auto"], []])
def test_auto_is_one_worker_for_each_usable_core(words: list[str]) -> None:
    assert read_settings(*words).workers == count_cpus()


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "1.5"])
def test_a_count_that_cannot_be_is_refused(text: str) -> None:
    line = f"--workers {text}: expected 1 to 256, or auto"
    with pytest.raises(UsageError, match=line):
        read_settings("--workers", text)


def test_a_loop_that_is_none_is_refused() -> None:
    assert read_settings("--loop=asyncio").loop == "asyncio"
    with pytest.raises(UsageError, match="--loop trio: expected uvloop or asyncio"):
        read_settings("--loop=trio")


@pytest.mark.parametrize("name", ["api", "api@blue", "a.b:c_d-9"])
def test_a_service_has_a_name_that_could_be_a_files(name: str) -> None:
    assert read_settings("--name", name).name == name


@pytest.mark.parametrize("name", ["a/b", "a b", "ä", "x" * 65])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--name {name}: expected up to 64"):
        read_settings("--name", name)


def test_an_app_dir_is_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    settings = read_settings("--app-dir=src", folder=tmp_path)
    assert settings.import_folder == str(tmp_path / "src")
    assert Path(read_settings(folder=tmp_path).import_folder) == tmp_path


def test_a_missing_app_dir_is_refused() -> None:
    with pytest.raises(UsageError, match="--app-dir none: no such folder"):
        read_settings("--app-dir=none")


def test_no_app_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="APP is missing: write `blazeio-supervisor"):
        configure().make_settings()
