import os
import sys
from pathlib import Path

import pytest

from blazeio_supervisor.config.environment import count_cpus
from blazeio_supervisor.config.processes import WorkerRange
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import configure, read_settings


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("8", 8), ("256", 256)])
def test_a_number_of_workers_is_read(text: str, count: int) -> None:
    assert read_settings("--workers", text).workers == count


@pytest.mark.parametrize("words", [["--workers=auto"], []])
def test_auto_is_one_worker_for_each_usable_core(words: list[str]) -> None:
    assert read_settings(*words).workers == count_cpus()


@pytest.mark.parametrize(
    ("text", "least", "most"), [("2..16", 2, 16), ("1..auto", 1, None), ("3..3", 3, 3)]
)
def test_a_range_is_for_the_load_to_decide(
    text: str, least: int, most: int | None
) -> None:
    settings = read_settings("--workers", text)
    most = most or count_cpus()
    assert settings.workers == WorkerRange(least, most)
    assert (settings.worker_count, settings.worker_range) == (least, settings.workers)
    assert settings.describe_workers() == f"{least}..{most} workers"
    policy = settings.make_policy()
    assert (policy.least_workers, policy.most_workers) == (least, most)
    assert read_settings("--workers=4").make_policy().most_workers is None


@pytest.mark.parametrize("text", ["2..", "..4", "0..3", "2..257", "1..2..3"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected 1 to 256, or auto .*, or two of"):
        read_settings("--workers", text)
    with pytest.raises(UsageError, match=r"expected the smaller number first: 2\.\.4"):
        read_settings("--workers", "4..2")


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "1.5"])
def test_a_count_that_cannot_be_is_refused(text: str) -> None:
    line = f"--workers {text}: expected 1 to 256, or auto"
    with pytest.raises(UsageError, match=line):
        read_settings("--workers", text)


def test_a_loop_that_is_none_is_refused() -> None:
    assert read_settings("--loop=asyncio").loop == "asyncio"
    assert read_settings("--loop=uvloop").loop == "uvloop"
    assert (read_settings().loop, read_settings().usual_loop) == (None, "uvloop")
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


def test_a_service_may_run_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "there" / "src").mkdir(parents=True)
    settings = read_settings("--chdir=there", "--app-dir=src", folder=tmp_path)
    assert settings.folder == f"{tmp_path}/there"
    assert settings.import_folder == f"{tmp_path}/there/src"
    with pytest.raises(UsageError, match="--chdir none: no such folder"):
        read_settings("--chdir=none")


def test_variables_come_from_a_file_and_from_options_which_win(tmp_path: Path) -> None:
    (tmp_path / "env").write_text(
        "# a comment\n\nA=from file\nexport B='in quotes'\nC=\"=\"\nD=\n"
    )
    settings = read_settings("--env-file=env", "--env=A=x y", folder=tmp_path)
    assert settings.variables == {"A": "x y", "B": "in quotes", "C": "=", "D": ""}


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A = 1", "1"),
        ("  export  A=1 ", "1"),
        ("A=1 # why", "1"),
        ("A= # why", ""),
        ("A=1#2", "1#2"),
        ("A='1 # 2' # why", "1 # 2"),
        ("A=it's", "it's"),
        ('A="-----BEGIN KEY-----\nMII=\n-----END KEY-----"', None),
        (r'A="1\n\"2\" \\ \d"', '1\n"2" \\ \\d'),
        (r"A='1\n\'2\' \\ 3'", r"1\n'2' \ 3"),
        ("A=${HOME}", "${HOME}"),
        ("\ufeffA=1\r", "1"),
    ],
)
def test_a_line_means_what_it_means_to_python_dotenv(
    tmp_path: Path, line: str, value: str | None
) -> None:
    """Each was given to ``dotenv_values(..., interpolate=False)`` of 1.2.4."""
    (tmp_path / "env").write_bytes(f"{line}\nB=2".encode())
    expected = line[3:-1] if value is None else value
    settings = read_settings("--env-file=env", folder=tmp_path)
    assert settings.variables == {"A": expected, "B": "2"}


def test_variables_are_a_table_in_a_file_and_lines_in_a_variable(
    tmp_path: Path,
) -> None:
    (tmp_path / "blazeio.toml").write_text('env = {A = "1", B = "x y"}\n')
    assert read_settings(folder=tmp_path).variables == {"A": "1", "B": "x y"}
    settings = read_settings(environ={"BLAZEIO_ENV": "A=1 2\nB=3"})
    assert settings.variables == {"A": "1 2", "B": "3"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("A\n", "line 1: expected NAME=VALUE"),
        ("A=1\n1B=2\n", "line 2: expected NAME=VALUE"),
        ("A B=1\n", "line 1: expected NAME=VALUE"),
        ("A='1\n2'\n\nB='x\n", "line 4: the value begins with ', and no ' ends it"),
        ('A="1" 2\n', 'line 1: expected nothing but a comment after the second "'),
    ],
)
def test_a_line_that_is_no_variable_is_named(
    tmp_path: Path, text: str, line: str
) -> None:
    (tmp_path / "env").write_text(text)
    with pytest.raises(UsageError, match=f"^--env-file env: {line}$"):
        read_settings("--env-file=env", folder=tmp_path)


def test_a_file_of_variables_must_be_there() -> None:
    with pytest.raises(UsageError, match="--env-file none: No such file"):
        read_settings("--env-file=none")


def test_a_variable_needs_a_name() -> None:
    with pytest.raises(UsageError, match="--env =x: expected NAME=VALUE"):
        read_settings("--env==x")


def test_cpus_are_numbers_and_ranges_or_all_that_may_be_used() -> None:
    usable = sorted(os.sched_getaffinity(0))
    first = usable[0]
    assert read_settings("--cpu-affinity=auto").cpu_affinity == tuple(usable)
    text = f"--cpu-affinity={first},{first}-{first}"
    assert read_settings(text).cpu_affinity == (first, first)


@pytest.mark.parametrize("text", ["x", "1-", "-1", "1;2", ""])
def test_what_are_no_cpus_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected numbers and ranges such as 0-3,8"):
        read_settings("--cpu-affinity", text)


def test_a_cpu_that_may_not_be_used_is_named() -> None:
    line = "--cpu-affinity 9998-9999: this process may not use 9998,9999, but "
    with pytest.raises(UsageError, match=line):
        read_settings("--cpu-affinity=9998-9999")


def test_a_script_has_no_factory() -> None:
    with pytest.raises(UsageError, match=r"--factory: app\.py is a script"):
        configure("app.py", "--factory").make_settings()


def test_another_interpreter_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "python").symlink_to(sys.executable)
    settings = read_settings("--chdir", str(tmp_path), "--python", "python")
    assert settings.interpreter == str(tmp_path / "python")
    assert read_settings().interpreter == ""
    with pytest.raises(UsageError, match="--python nowhere: there is no such program"):
        read_settings("--python", "nowhere")
