"""A child that does all that the next image will do, but for taking over."""

import asyncio
import os
import signal
from collections.abc import Sequence

from blazeio_supervisor.process.reaper import Reaper
from blazeio_supervisor.upgrade.launch import Launch
from blazeio_supervisor.upgrade.stage0 import OK

_SLACK_S = 1.0
"""It ends itself at its deadline; who is still there then hangs below Python."""
_WORD_BYTES = 65536


class RehearsalError(Exception):
    """It did not go well.

    Args:
        reason: Why, in one line.
        frames: A traceback, of what nobody foresaw.
    """

    def __init__(self, reason: str, frames: str = "") -> None:
        super().__init__(reason)
        self.frames = frames


async def rehearse(
    reaper: Reaper, launch: Launch, pipe: tuple[int, int], fds: Sequence[int]
) -> str:
    """Run one; gives the version that would take over.

    Args:
        reaper: Watches the child.
        launch: What is started; it was told of ``pipe``.
        pipe: Its word comes here; closed in the end.
        fds: What the child inherits, by the same numbers.

    Raises:
        RehearsalError: It failed, or took too long.
    """
    reader, writer = pipe
    try:
        pid = _spawn(launch, [*fds, writer])
    except OSError as error:
        os.close(reader)
        reason = f"cannot start {launch.words[0]}: {error.strerror}"
        raise RehearsalError(reason) from error
    finally:
        os.close(writer)
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def note_end(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    reaper.watch(pid, note_end)
    try:
        async with asyncio.timeout(launch.timeout_s + _SLACK_S):
            status = await ended
        word = os.read(reader, _WORD_BYTES).decode(errors="replace")
    except TimeoutError:
        reason = f"it did not begin within {launch.timeout_s:g} s, and hung"
        raise RehearsalError(reason) from None
    finally:
        reaper.send_signal(pid, signal.SIGKILL)  # nobody waits for it any more
        os.close(reader)
    if status != 0 or not word.startswith(OK):
        reason, _, frames = word.partition("\n")
        silence = f"it ended with status {status}, and said nothing"
        raise RehearsalError(reason or silence, frames)
    return word.removeprefix(OK)


def _spawn(launch: Launch, fds: Sequence[int]) -> int:
    return os.posix_spawn(
        launch.interpreter,
        launch.words,
        launch.environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, fd) for fd in fds],  # inheritable
        setsigmask=signal.valid_signals(),
    )
