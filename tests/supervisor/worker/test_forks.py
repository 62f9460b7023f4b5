"""A signal that is sent to a forked child at once is not lost."""

import pytest

from tests.support.live import run_to_exit

FORKING = """
import os, signal, sys, time
from blazeio_supervisor.worker.process import OwnInstallations

def handle(*_):
    os._exit(7)

own = OwnInstallations()
own.handle(signal.SIGTERM, print)
own.handle(signal.SIGINT, print)
if "own" in sys.argv:
    signal.signal(signal.SIGINT, handle)
number = getattr(signal, sys.argv[1])
if "during" in sys.argv:  # before all is undone
    own.undo_in_children(lambda: os.kill(os.getpid(), number))
else:  # in the instant in which it is
    change = signal.pthread_sigmask
    def unblock(how, mask):
        before = change(how, mask)
        if os.getpid() != parent:
            os.kill(os.getpid(), number)
        return before
    signal.pthread_sigmask = unblock
parent = os.getpid()
pid = os.fork()
if pid == 0:
    time.sleep(60)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.mark.parametrize("when", ["during", "at the end"])
@pytest.mark.parametrize(
    ("words", "status"),
    [(("SIGTERM",), -15), (("SIGINT",), -2), (("SIGINT", "own"), 7)],
)
def test_it_does_what_python_does(
    when: str, words: tuple[str, ...], status: int
) -> None:
    done = run_to_exit(["python", "-c", FORKING, *words, when])
    assert (done.stdout, done.stderr) == (f"{status}\n", "")
