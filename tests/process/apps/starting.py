"""Apps that change their process as it is started and as they are imported."""

from tests.process.apps.forking import FILE, NUMBERS
from tests.process.apps.row import Row

SQUARE = """
async def answer(n):
    return n * n
"""
HANDLERS = """
import signal

CAUGHT = []

def handle():
    for name in ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "CHLD", "ALRM"):
        signal.signal(getattr(signal, "SIG" + name), lambda *_: CAUGHT.append(name))
"""
ALARMS = """
import signal

RANG = []
"""
OWN_LOG = """
import logging

logging.getLogger("own").addHandler(logging.FileHandler("own.log"))
"""
GRACE = ("--graceful-timeout", "1")


def sh(text: str) -> tuple[str, ...]:
    return ("sh", "-c", text, "sh")


def python(text: str) -> tuple[str, ...]:
    run = f"import os, sys, signal; {text}; os.execvp(sys.argv[1], sys.argv[1:])"
    return ("python3", "-c", run)


ROWS = [
    # Who starts it.
    Row(name="closed descriptors", code=SQUARE, prefix=sh('exec "$@" <&-')),
    Row(
        name="every signal blocked by who starts it",
        code=SQUARE,
        prefix=python("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))"),
    ),
    Row(
        name="every signal ignored by who starts it",
        code=SQUARE,
        prefix=python(
            "[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) "
            "if n not in (9, 19)]"
        ),
    ),
    Row(
        name="nearly no environment",
        code=SQUARE,
        prefix=("env", "-i"),
    ),
    Row(
        name="a strict mask and a low priority",
        code=SQUARE,
        prefix=sh('umask 077; exec nice "$@"'),
    ),
    Row(name="few descriptors", code=SQUARE, prefix=sh('ulimit -n 64; exec "$@"')),
    Row(
        name="Python in development mode",
        code=SQUARE,
        env={"PYTHONDEVMODE": "1"},
    ),
    Row(name="warnings are errors", code=SQUARE, env={"PYTHONWARNINGS": "error"}),
    Row(
        name="an interpreter without asserts and with a faulthandler",
        code=SQUARE,
        env={"PYTHONOPTIMIZE": "2", "PYTHONFAULTHANDLER": "1"},
    ),
    Row(
        name="a plain C locale and ascii streams",
        code="print('\\u00fc')\n" + SQUARE,
        env={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii:replace"},
    ),
    # What the import does.
    Row(
        name="a file that is opened at import, and read by handlers",
        code=FILE,
        files={"numbers": NUMBERS},
    ),
    Row(
        name="a terminal that is opened at import",
        code="""
import pty, tty

OWN, THEIRS = pty.openpty()
tty.setraw(THEIRS)
LOCK = threading.Lock()

def pass_through(n):
    with LOCK:
        os.write(OWN, f"{n * n:8}".encode())
        return int(os.read(THEIRS, 8))

async def answer(n):
    return await in_thread(pass_through, n)
""",
        is_shared=False,
        says=(r"event=fork_unsafe .*the terminal /dev/pt",),
    ),
    Row(
        name="chdir at import, and a log file beside",
        code=OWN_LOG
        + """
os.makedirs("elsewhere", exist_ok=True)
os.chdir("elsewhere")
"""
        + SQUARE,
        options=("--access-log", "access.log"),
    ),
    Row(
        name="a dictConfig that disables all loggers",
        code="""
import logging.config

logging.config.dictConfig({"version": 1, "root": {"level": "ERROR"}})
@web.on_start
def start():
    logging.config.dictConfig({"version": 1})
"""
        + SQUARE,
    ),
    Row(
        name="logging switched off",
        code="import logging\nlogging.disable(logging.CRITICAL)\n" + SQUARE,
    ),
    Row(
        name="a record factory and a logger class that raise",
        code="""
import logging

class Strict(logging.Logger):
    def makeRecord(self, *values, **more):
        raise RuntimeError("no record")

logging.setLoggerClass(Strict)
def no_record(*values, **more):
    raise RuntimeError("no record")
logging.setLogRecordFactory(no_record)
"""
        + SQUARE,
    ),
    Row(
        name="handlers of all signals at import",
        code=HANDLERS + "handle()\n" + SQUARE,
    ),
    Row(
        name="handlers of all signals in on_start",
        code=HANDLERS + "web.on_start(handle)\n" + SQUARE,
    ),
    Row(
        name="handlers of all signals in a handler",
        code=HANDLERS
        + """
async def answer(n):
    handle()
    return n * n
""",
    ),
    Row(
        name="handlers on the loop",
        code="""
import signal

async def answer(n):
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        loop.add_signal_handler(number, lambda: None)
    return n * n
""",
    ),
    Row(
        name="handlers on the loop, and plain asyncio",
        code="""
import signal

async def answer(n):
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        loop.add_signal_handler(number, lambda: None)
        loop.remove_signal_handler(number)
    return n * n
""",
        options=("--loop", "asyncio"),
    ),
    Row(
        name="TERM at its default since the import",
        code="""
import signal

signal.signal(signal.SIGTERM, signal.SIG_DFL)
@web.on_start
def start():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
"""
        + SQUARE,
    ),
    Row(
        name="a timer that rings all the time",
        code=ALARMS
        + """
@web.on_start
def start():
    signal.signal(signal.SIGALRM, lambda *_: RANG.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
"""
        + SQUARE,
    ),
    Row(
        name="a timer that rings all the time since the import",
        code=ALARMS
        + """
signal.signal(signal.SIGALRM, lambda *_: RANG.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
"""
        + SQUARE,
    ),
    Row(
        name="an alarm that bounds each request",
        code=ALARMS
        + """
def late(*_):
    raise TimeoutError

async def answer(n):
    signal.signal(signal.SIGALRM, late)
    signal.alarm(5)
    try:
        return n * n
    finally:
        signal.alarm(0)
""",
    ),
    Row(
        name="a wakeup descriptor of its own",
        code="""
import signal, socket

async def answer(n):
    global PAIR
    PAIR = socket.socketpair()
    PAIR[0].setblocking(False)
    signal.set_wakeup_fd(PAIR[0].fileno())
    return n * n
""",
    ),
    Row(
        name="a faulthandler that dumps later",
        code="""
import faulthandler, signal

faulthandler.enable()
faulthandler.register(signal.SIGUSR1)
@web.on_start
def start():
    faulthandler.register(signal.SIGUSR2, chain=True)
    faulthandler.dump_traceback_later(600)
"""
        + SQUARE,
    ),
    Row(
        name="a title of its own",
        code="""
import setproctitle

setproctitle.setproctitle("own")
"""
        + SQUARE,
    ),
    Row(
        name="a process group of its own",
        code="""
os.setpgid(0, 0)
@web.on_start
def start():
    os.setpgid(0, 0)
"""
        + SQUARE,
    ),
    Row(
        name="a session of its own",
        code="""
@web.on_start
def start():
    os.setsid()
"""
        + SQUARE,
    ),
    Row(
        name="a session of its own at import",
        code="""
try:
    os.setsid()
except OSError:
    pass
"""
        + SQUARE,
    ),
    Row(
        name="limits of its own",
        code="""
import resource

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
@web.on_start
def start():
    os.nice(1)
    os.umask(0o777)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
"""
        + SQUARE,
    ),
    Row(
        name="an environment emptied and a path changed",
        code="""
os.environ.clear()
sys.path[:] = []
sys.argv[:] = []
"""
        + SQUARE,
    ),
    Row(
        name="sockets with a default timeout",
        code="""
import socket

socket.setdefaulttimeout(0.5)
"""
        + SQUARE,
    ),
    Row(
        name="sockets of a class of its own",
        code="""
import socket

class Own(socket.socket):
    def __init__(self, *values, **more):
        super().__init__(*values, **more)

socket.socket = Own
"""
        + SQUARE,
    ),
    Row(
        name="a clock that stands still",
        code="""
time.time = lambda: 0.0
time.monotonic = lambda: 0.0
time.perf_counter = lambda: 0.0
time.sleep = lambda span: None
"""
        + SQUARE,
    ),
    Row(
        name="builtins replaced",
        code="""
import builtins, signal

def never(*values, **more):
    raise RuntimeError("never")

builtins.input = builtins.exit = sys.exit = never
signal.signal = signal.alarm = signal.setitimer = lambda *_: None
plain, fork = builtins.print, os.fork
builtins.print = lambda *values, **more: plain(*values, **more)
os.fork = lambda: fork()
"""
        + SQUARE,
    ),
    Row(
        name="streams replaced",
        code="""
import io as streams

sys.stdout = streams.StringIO()
sys.stderr = None
@web.on_start
def start():
    sys.stdout = None
"""
        + SQUARE,
    ),
    Row(
        name="hooks of the interpreter replaced",
        code="""
def never(*values):
    raise RuntimeError("never")

sys.excepthook = sys.unraisablehook = threading.excepthook = never
sys.setrecursionlimit(150)
sys.setprofile(lambda *_: None)
"""
        + SQUARE,
    ),
    Row(
        name="a collector that is off and asserts about warnings",
        code="""
import gc, warnings

gc.disable()
warnings.simplefilter("error")
"""
        + SQUARE,
    ),
    Row(
        name="a loop of its own at import",
        code="""
LOOP = asyncio.new_event_loop()
asyncio.set_event_loop(LOOP)
LOOP.run_until_complete(asyncio.sleep(0))
LOOP.close()
asyncio.run(asyncio.sleep(0))
"""
        + SQUARE,
    ),
    Row(
        name="a policy of its own",
        code="""
import uvloop

asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
"""
        + SQUARE,
    ),
    Row(
        name="a loop within a thread, and one within the handler",
        code="""
async def double(n):
    await asyncio.sleep(0)
    return n * n

async def answer(n):
    try:
        asyncio.run(double(n))
    except RuntimeError:
        pass
    return await in_thread(asyncio.run, double(n))
""",
        may_say=("Traceback",),
    ),
    Row(
        name="a method of starting that is set at import",
        code="""
import multiprocessing, squares

multiprocessing.set_start_method("forkserver", force=True)

def run(n):
    with multiprocessing.Pool(1) as pool:
        return pool.apply(squares.square, (n,))

async def answer(n):
    return await in_thread(run, n)
""",
        files={"squares.py": "def square(n):\n    return n * n\n"},
    ),
    Row(
        name="at-exit that hangs",
        code="""
import atexit

atexit.register(time.sleep, 600)
"""
        + SQUARE,
        options=GRACE,
    ),
    Row(
        name="at-exit that ends otherwise",
        code="""
import atexit

@web.on_start
def start():
    atexit.register(os._exit, 7)
    atexit.register(sys.exit, 7)

@atexit.register
def end():
    raise ValueError("at exit")
"""
        + SQUARE,
        may_say=("Traceback",),
    ),
]
