import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.master.upgrade import stage0
from tests.support.clock import scaled

pytestmark = pytest.mark.slow
OLD = """
import os
def rehearse(state_fd):
    return f"old, with {state_fd}"
def resume(state_fd, failure):
    print(f"old again: {failure}; home: {os.environ.get('PYTHONHOME')}")
    return lambda: 7
"""
GOOD = OLD.replace("old, ", "new, ").replace("old again: ", "new here: ")


class UpgradeImages:
    """An archive with an old image, and a folder with a new one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._room = folder / "new" / "blazeio_supervisor" / "master" / "upgrade"
        self._room.mkdir(parents=True)
        (self._room.parent.parent / "__init__.py").touch()
        (self._room.parent / "__init__.py").touch()
        (self._room / "__init__.py").touch()
        self._archive = str(folder / "archive")
        with zipfile.ZipFile(self._archive, "w") as archive:
            archive.write(stage0.__file__, "__main__.py")
            archive.writestr("blazeio_supervisor/__init__.py", "")
            archive.writestr("blazeio_supervisor/master/__init__.py", "")
            archive.writestr("blazeio_supervisor/master/upgrade/__init__.py", "")
            archive.writestr("blazeio_supervisor/master/upgrade/resume.py", OLD)
        self._interpreter = os.open(sys.executable, os.O_RDONLY)

    def close(self) -> None:
        os.close(self._interpreter)

    def run(
        self,
        code: str,
        *,
        image: str = "new",
        result_fd: int | None = None,
        timeout_s: float = 5.0,
    ) -> subprocess.CompletedProcess[str]:
        """Let stage 0 begin, where this is the code of the new image."""
        (self._room / "resume.py").write_text(code)
        command = [sys.executable, "-S", self._archive]
        orders = {
            "image": image,
            "command": command,
            "state_fd": 41,
            "result_fd": result_fd,
            "timeout_s": scaled(timeout_s),
            "failure": "",
            "interpreter_fd": self._interpreter,
            "extensions": {},
            "old_home": f"{sys.base_prefix}:{sys.base_exec_prefix}",
            "python_home": None,
        }
        return subprocess.run(
            [*command, json.dumps(orders)],
            env={**os.environ, "PYTHONPATH": str(self._folder / "new")},
            pass_fds=[self._interpreter] + ([] if result_fd is None else [result_fd]),
            capture_output=True,
            text=True,
            timeout=scaled(10),
            check=False,
        )

    def rehearse(self, code: str, **how: object) -> tuple[str, str]:
        """Gives the word, and what it printed."""
        reader, writer = os.pipe()
        done = self.run(code, result_fd=writer, **how)  # type: ignore[arg-type]
        os.close(writer)
        word = os.read(reader, 65536).decode()
        os.close(reader)
        assert (done.returncode == 0) is word.startswith("ok ")
        return word, done.stderr


@pytest.fixture
def images(tmp_path: Path) -> Iterator[UpgradeImages]:
    made = UpgradeImages(tmp_path)
    yield made
    made.close()


def test_a_good_image_runs(images: UpgradeImages) -> None:
    done = images.run(GOOD)
    assert (done.returncode, done.stderr) == (7, "")
    assert done.stdout == "new here: ; home: None\n"


def test_either_image_can_be_rehearsed(images: UpgradeImages) -> None:
    assert images.rehearse(GOOD) == ("ok new, with 41", "")
    assert images.rehearse("1 / 0", image="old") == ("ok old, with 41", "")


def test_a_fault_is_told_in_a_line_and_then_as_a_whole(images: UpgradeImages) -> None:
    word, said = images.rehearse("1 / 0")
    reason, *frames = word.splitlines()
    assert reason == "ZeroDivisionError: division by zero"
    assert (frames[0][:10], frames[-1]) == ("Traceback ", reason)
    assert said == ""


def test_a_refusal_is_told_in_its_own_words(images: UpgradeImages) -> None:
    code = "def rehearse(state_fd): raise SystemExit('not this one')"
    assert images.rehearse(code) == ("not this one\n", "")


def test_what_hangs_is_given_up_whatever_it_catches(images: UpgradeImages) -> None:
    code = "import time\nwhile True:\n try: time.sleep(9)\n except BaseException: pass"
    word, _ = images.rehearse(code, timeout_s=0.1)
    line = f"TimeoutError: it did not begin within {scaled(0.1):g} s\n"
    assert word.startswith(line)


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("import time; time.sleep(9)", "TimeoutError: it did not begin within"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import no_such_module", "No module named 'no_such_module'"),
        (GOOD.replace("return lambda: 7", "raise OSError('late')"), "OSError: late"),
    ],
)
def test_the_old_image_comes_back_in_earnest(
    images: UpgradeImages, code: str, failure: str
) -> None:
    done = images.run(code, timeout_s=0.5)
    assert done.returncode == 7
    assert "old again: " in done.stdout
    assert failure in done.stdout
    assert done.stdout.endswith("; home: None\n")


def test_no_deadline_is_left_for_what_runs(images: UpgradeImages) -> None:
    code = GOOD.replace("lambda: 7", "lambda: __import__('time').sleep(1.0)")
    assert images.run(code, timeout_s=0.3).returncode == 0


def test_kept_extensions_are_found_by_their_descriptors() -> None:
    finder = stage0.KeptExtensions({"a.b": 5})
    spec = finder.find_spec("a.b")
    assert spec is not None
    assert spec.origin == "/proc/self/fd/5"
    assert finder.find_spec("a") is None
