import asyncio
import os
import sys

import pytest

from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.upgrade.exec_new import RehearsalError, rehearse
from blazeio_supervisor.master.upgrade.image import Launch
from tests.support.clock import scaled, wait_until

pytestmark = pytest.mark.slow


async def run(
    code: str, interpreter: str = sys.executable, timeout_s: float = 5
) -> str:
    """Rehearse with a child that has this code; ``out`` is where it answers."""
    count = len(os.listdir("/proc/self/fd"))
    pipe = os.pipe()
    words = [interpreter, "-S", "-c", f"import os, sys; out = {pipe[1]}; {code}"]
    launch = Launch(interpreter, words, dict(os.environ), scaled(timeout_s))
    try:
        return await rehearse(Reaper(asyncio.get_running_loop()), launch, pipe, [])
    finally:
        await wait_until(lambda: len(os.listdir("/proc/self/fd")) == count)


async def test_a_good_word_gives_the_version() -> None:
    assert await run("os.write(out, b'ok 3.0')") == "3.0"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("os.write(out, b'no such module'); sys.exit(1)", "no such module"),
        ("sys.exit(7)", "it ended with status 7, and said nothing"),
        ("os.kill(os.getpid(), 9)", "it ended with status -9, and said nothing"),
    ],
)
async def test_any_other_end_is_a_failure(code: str, reason: str) -> None:
    with pytest.raises(RehearsalError, match=f"^{reason}$"):
        await run(code)


async def test_what_nobody_foresaw_comes_with_its_traceback() -> None:
    with pytest.raises(RehearsalError) as caught:
        await run("os.write(out, b'ValueError: x\\nTraceback\\n  ...'); sys.exit(1)")
    assert (str(caught.value), caught.value.frames) == (
        "ValueError: x",
        "Traceback\n  ...",
    )


async def test_one_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blazeio_supervisor.master.upgrade.exec_new._SLACK_S", 0.05)
    with pytest.raises(RehearsalError, match=r"did not begin within .* and hung"):
        await run("import time; time.sleep(60)", timeout_s=0.05)


async def test_without_an_interpreter_there_is_none() -> None:
    with pytest.raises(RehearsalError, match=r"^cannot start /no/python: No such file"):
        await run("", interpreter="/no/python")
