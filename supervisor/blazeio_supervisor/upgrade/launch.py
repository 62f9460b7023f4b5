"""How an image of the master is started: interpreter, arguments, environment."""

import json
import os
import sys
from typing import Self

from msgspec import Struct

from blazeio_supervisor.process.isolation import isolate, list_own_options
from blazeio_supervisor.upgrade.image import KeptImage
from blazeio_supervisor.upgrade.stage0 import NEW, OLD

_BACK_FACTOR = 3.0
"""The kept image may have to compile its sources: a second or so."""


class Launch(Struct, frozen=True):
    """One start of stage 0, for an exec or a child.

    Attributes:
        interpreter: A path: that of the installed one, or of the kept one.
        timeout_s: Until it must have begun.
    """

    interpreter: str
    words: list[str]
    environment: dict[str, str]
    timeout_s: float

    @classmethod
    def of_new(
        cls,
        image: KeptImage,
        state_fd: int,
        timeout_s: float,
        result_fd: int | None = None,
    ) -> Self:
        """The image on the disk; ``image`` is what it goes back to.

        Args:
            image: The one that leaves.
            state_fd: Of a ``State``.
            timeout_s: Until it has begun.
            result_fd: Only rehearse, and say there how it went.
        """
        orders, environment = _compose(NEW, image, state_fd, timeout_s, result_fd)
        return cls(sys.executable, orders, environment, timeout_s)

    @classmethod
    def of_old(
        cls, image: KeptImage, state_fd: int, timeout_s: float, result_fd: int
    ) -> Self:
        """A rehearsal of the way back."""
        timeout_s *= _BACK_FACTOR
        orders, environment = _compose(OLD, image, state_fd, timeout_s, result_fd)
        environment["PYTHONHOME"] = image.home
        interpreter = f"/proc/self/fd/{image.interpreter_fd}"
        return cls(interpreter, orders, environment, timeout_s)


def _compose(
    which: str,
    image: KeptImage,
    state_fd: int,
    timeout_s: float,
    result_fd: int | None,
) -> tuple[list[str], dict[str, str]]:
    """Return words and environment, which runs no code of other users."""
    isolation = isolate()
    archive = f"/proc/self/fd/{image.archive_fd}"
    # -S: what `site` would run belongs to the image, so stage 0 runs it.
    command = [sys.executable, *list_own_options(), *isolation.options, "-S", archive]
    orders = {
        "image": which,
        "command": command,
        "state_fd": state_fd,
        "result_fd": result_fd,
        "timeout_s": timeout_s,
        "failure": "",
        "interpreter_fd": image.interpreter_fd,
        "extensions": image.extensions,
        "old_home": image.home,
        "python_home": os.environ.get("PYTHONHOME"),
        "hidden": isolation.hidden,
    }
    return [*command, json.dumps(orders)], isolation.environment
