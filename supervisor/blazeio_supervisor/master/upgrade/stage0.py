"""What an exec of the master runs first, whichever image follows.

It lies as ``__main__.py`` in the archive of the image that leaves, is run without
``site``, and imports nothing but the standard library: so it works while the
packages on the disk are broken. Its one argument is an ``Orders`` as JSON.

::

    exec -> [alarm armed] -> site, import of the new image, resume -> [disarmed] -> run
                  |                        |
                  '--- deadline, exception '--> exec of the old image, from memory

A rehearsal goes the same way as a child, and says how it went instead of running.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from typing import Any, NoReturn

ENTRY = "blazeio_supervisor.master.upgrade.resume"
"""Has ``rehearse`` and ``resume``: what any two images must have in common."""
NEW, OLD = "new", "old"
OK = "ok "
"""Begins the word of a rehearsal that went well; then comes the version."""
_FRAMES_CHARS = 16_000  # a pipe holds that, also of four octets each


class KeptExtensions:
    """Finds the C extensions of the old image by the descriptors kept of them.

    Args:
        fds: Their descriptors, by the module's full name.
    """

    def __init__(self, fds: dict[str, int]) -> None:
        self._fds = fds

    def find_spec(
        self, name: str, path: object = None, target: object = None
    ) -> ModuleSpec | None:
        """Find an extension; called by Python, as an entry of ``sys.meta_path``."""
        if name not in self._fds:
            return None
        place = f"/proc/self/fd/{self._fds[name]}"
        loader = ExtensionFileLoader(name, place)
        return spec_from_file_location(name, place, loader=loader)


def main() -> NoReturn:
    """Become the image that the orders name."""
    orders = json.loads(sys.argv[1])
    orders["environment"] = dict(os.environ)
    os.environ.update(orders.get("hidden", {}))  # what led into folders of other users
    # Python has put it first, since it is what is run (``python FILE``): modules of the
    # old image would win over those of the new one.
    archive = sys.path.pop(0)
    if orders["image"] == NEW or orders["result_fd"] is not None:
        _arm(orders)  # but who comes back in earnest may take its time
    try:
        if orders["image"] == OLD:
            _use_old(archive, orders)
        else:
            _use_new()
        entry = import_module(ENTRY)
        if orders["result_fd"] is not None:
            _end_rehearsal(orders, f"{OK}{entry.rehearse(orders['state_fd'])}", 0)
        run = entry.resume(orders["state_fd"], orders["failure"])
    # BaseException: a ``sys.exit`` while the new image is imported, or a
    # KeyboardInterrupt, is a failure like any other, and would otherwise end the
    # service.
    except BaseException as error:
        _give_up(orders, error)
    # Not before ``resume`` has returned, which may hang as an import may.
    _disarm()
    sys.exit(run())


def _use_new() -> None:
    import site

    site.main()  # what -S has left out: the environment's packages


def _use_old(archive: str, orders: dict[str, Any]) -> None:
    # It was set for this interpreter, which may stand alone by now.
    os.environ.pop("PYTHONHOME", None)
    if orders["python_home"] is not None:
        os.environ["PYTHONHOME"] = orders["python_home"]
    sys.path.insert(0, archive)
    sys.meta_path.insert(0, KeptExtensions(orders["extensions"]))


def _arm(orders: dict[str, Any]) -> None:
    def give_up(*_: object) -> None:
        # Not raised: what is being imported may catch everything.
        span_s = orders["timeout_s"]
        _give_up(orders, TimeoutError(f"it did not begin within {span_s:g} s"))

    signal.signal(signal.SIGALRM, give_up)
    # The image before has blocked all signals, and an exec keeps the mask (signal(7)).
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, orders["timeout_s"])


def _disarm() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _give_up(orders: dict[str, Any], error: BaseException) -> NoReturn:
    # First: a second call of this function from the handler would exec in the midst of
    # it.
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    reason, frames = _explain(error)
    if orders["result_fd"] is not None:
        _end_rehearsal(orders, f"{reason}\n{frames}", 1)
    sys.stderr.write(frames)
    sys.stderr.flush()
    if orders["image"] == OLD:
        # No image is left. The workers see the end of their channels, answer what they
        # have, and end.
        os._exit(1)
    _exec_old(orders, reason)


def _explain(error: BaseException) -> tuple[str, str]:
    """Return one line, and the traceback of an unforeseen exception."""
    if isinstance(error, SystemExit) and isinstance(error.code, str):
        return error.code, ""
    frames = "".join(traceback.format_exception(error))
    return frames.strip().splitlines()[-1], frames[-_FRAMES_CHARS:]


def _end_rehearsal(orders: dict[str, Any], word: str, code: int) -> NoReturn:
    os.write(orders["result_fd"], word.encode(errors="replace"))
    os._exit(code)


def _exec_old(orders: dict[str, Any], reason: str) -> NoReturn:
    environment = dict(orders.pop("environment"), PYTHONHOME=orders["old_home"])
    orders |= {"image": OLD, "failure": reason}
    words = [*orders["command"], json.dumps(orders)]
    # By descriptor (fexecve(3)): the interpreter on the disk may be another one by now.
    os.execve(orders["interpreter_fd"], words, environment)


if __name__ == "__main__":
    main()
