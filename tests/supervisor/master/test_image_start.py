import json
import sys

import pytest

from blazeio_supervisor.master.upgrade.image import KeptImage, Launch

IMAGE = KeptImage(
    archive_fd=7,
    interpreter_fd=8,
    extensions={"msgspec._core": 9},
    home="/opt/python",
    program="3.0",
)


def test_the_new_image_is_begun_by_the_installed_interpreter() -> None:
    launch = Launch.of_new(IMAGE, 5, 10.0)
    assert launch.interpreter == launch.words[0] == sys.executable
    assert launch.words[-3:-1] == ["-S", "/proc/self/fd/7"]
    orders = json.loads(launch.words[-1])
    assert orders["command"] == launch.words[:-1]
    assert (orders["image"], orders["state_fd"], orders["result_fd"]) == (
        "new",
        5,
        None,
    )
    assert (orders["timeout_s"], orders["failure"]) == (10.0, "")


def test_the_old_image_needs_nothing_of_the_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/own")
    launch = Launch.of_old(IMAGE, 5, 10.0, 6)
    assert launch.interpreter == "/proc/self/fd/8"
    assert launch.words[0] == sys.executable
    assert launch.environment["PYTHONHOME"] == "/opt/python"
    orders = json.loads(launch.words[-1])
    assert (orders["image"], orders["result_fd"]) == ("old", 6)
    assert (orders["python_home"], orders["old_home"]) == ("/own", "/opt/python")
    assert orders["extensions"] == {"msgspec._core": 9}
