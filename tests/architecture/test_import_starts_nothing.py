"""An import makes no thread, loop, descriptor, output, handler or variable."""

import json

import pytest

from tests.support.live import run_to_exit
from tests.support.tree import iterate_modules

PROBE = """
import asyncio, gc, importlib, json, logging, os, signal, sys, threading
import pathlib
def look():
    loops = [o for o in gc.get_objects() if isinstance(o, asyncio.AbstractEventLoop)]
    return {
        "threads": [each.name for each in threading.enumerate()],
        "tasks": sorted(os.listdir("/proc/self/task")),
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "children": pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
        "loops": len(loops),
        "signals": {s.name: str(signal.getsignal(s)) for s in signal.Signals},
        "log handlers": len(logging.getLogger().handlers),
        "log level": logging.getLogger().level,
        "environment": dict(os.environ),
        "policy": type(asyncio.get_event_loop_policy()).__name__,
    }
before = look()
for name in sys.argv[1:]:
    importlib.import_module(name)
after = look()
print(json.dumps({key: [before[key], after[key]] for key in before
                  if before[key] != after[key]}))
"""
IMPORTABLE = [each.name for each in iterate_modules()] + ["Blazeio"]


@pytest.mark.slow
def test_importing_everything_starts_nothing() -> None:
    command = ["python", "-W", "error", "-W", "ignore:.*policy:DeprecationWarning"]
    done = run_to_exit([*command, "-c", PROBE, *IMPORTABLE])
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert json.loads(line) == {}
