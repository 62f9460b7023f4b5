"""Apps whose handlers, hooks and ends are not as they should be."""

from tests.process.apps.row import Row

SQUARE = """
async def answer(n):
    return n * n
"""
RAISES = (
    """
import asyncio

class Unshowable(Exception):
    def __str__(self):
        raise RuntimeError("not text")
    __repr__ = __str__

KINDS = {
    "exit": SystemExit(3), "interrupt": KeyboardInterrupt(),
    "base": BaseException("base"), "stop": StopIteration(), "memory": MemoryError(),
    "recursion": RecursionError(), "cancelled": asyncio.CancelledError(),
    "generator": GeneratorExit(), "unshowable": Unshowable(),
    "group": BaseExceptionGroup("several", [SystemExit(1), ValueError()]),
}

@web.add_route
async def fail(r, route="/fail"):
    raise KINDS[r.query]
"""
    + SQUARE
)
SPIN = (
    """
import signal

@web.add_route
async def spin(r, route="/spin"):
    print("begun", flush=True)
    {}
    while True:
        pass
"""
    + SQUARE
)
GRACE = ("--graceful-timeout", "1")

ROWS = [
    Row(
        name="handlers that raise what is not an Exception",
        code=RAISES,
        asks=tuple(
            (f"/fail?{kind}", 500)
            for kind in (
                "exit",
                "interrupt",
                "base",
                "stop",
                "memory",
                "recursion",
                "cancelled",
                "generator",
                "unshowable",
                "group",
            )
        ),
        may_say=("Traceback",),
    ),
    Row(
        name="hooks that end otherwise",
        code="""
@web.on_stop
def stop():
    sys.exit(5)

@web.on_stop
def interrupt():
    raise KeyboardInterrupt
"""
        + SQUARE,
        may_say=("Traceback",),
    ),
    Row(
        name="a handler that cancels all tasks",
        code="""
@web.add_route
async def cancel(r, route="/cancel"):
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()
    await io.Deliver.text(r, "done")
"""
        + SQUARE,
        asks=(("/cancel", 200),),
    ),
    Row(
        name="a handler that stops the loop",
        code="""
@web.add_route
async def halt(r, route="/halt"):
    await io.Deliver.text(r, "done")
    asyncio.get_running_loop().stop()
"""
        + SQUARE,
        asks=(("/halt", 200),),
        says=(r"the app has stopped the event loop \(loop.stop\(\)\): it goes on",),
    ),
    Row(
        name="a handler that debugs the loop and replaces its hooks",
        code="""
async def answer(n):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.slow_callback_duration = 60
    loop.set_exception_handler(lambda *_: None)
    loop.set_task_factory(None)
    return n * n
""",
    ),
    # How they end.
    Row(
        name="a loop that spins at the stop",
        code=SPIN.format("pass"),
        last="/spin",
        options=GRACE,
        may_say=("event=worker_killed", "event=blocked"),
    ),
    Row(
        name="a deaf loop at the stop",
        code=SPIN.format("signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))"),
        last="/spin",
        options=GRACE,
        may_say=("event=worker_killed", "event=blocked"),
    ),
    Row(
        name="a stopped process at the stop",
        code=SPIN.format("os.kill(os.getpid(), signal.SIGSTOP)"),
        last="/spin",
        options=GRACE,
        may_say=("event=worker_killed", "event=blocked"),
    ),
    Row(
        name="a thread that is not a daemon and never ends",
        code="""
@web.on_start
def start():
    threading.Thread(target=threading.Event().wait, name="endless").start()
"""
        + SQUARE,
        options=GRACE,
        may_say=("event=threads_cut",),
        says=("event=threads_cut .*endless",),
    ),
    Row(
        name="a timer thread",
        code="""
def ring():
    timer = threading.Timer(0.05, ring)
    timer.daemon = True
    timer.start()

web.on_start(ring)
"""
        + SQUARE,
    ),
]
