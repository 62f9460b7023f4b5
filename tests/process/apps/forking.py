"""Apps that fork, pool, start threads, and hold things since their import."""

from tests.process.apps.row import Row

SQUARE = """
def square(n):
    time.sleep(0.002)
    return n * n
"""
FORK = """
def fork_square(n):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(n * n).encode())
        finally:
            os._exit(0)
    os.close(write)
    octets = os.read(read, 100)
    os.close(read)
    os.waitpid(child, 0)
    return int(octets)
"""
EXECUTOR = f"""
import concurrent.futures
{SQUARE}
async def answer(n):
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(EXECUTOR, square, n)
"""
HELPER = """
import subprocess

PROGRAM = "import sys\\nfor line in sys.stdin:\\n    print(int(line) ** 2, flush=True)"
LOCK = threading.Lock()

def begin():
    global HELPER
    words = [sys.executable, "-c", PROGRAM]
    HELPER = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

def exchange(n):
    with LOCK:
        HELPER.stdin.write(f"{n}\\n")
        HELPER.stdin.flush()
        return int(HELPER.stdout.readline())

async def answer(n):
    return await in_thread(exchange, n)
"""
FILE = """
NUMBERS = open("numbers", "rb")
LOCK = threading.Lock()

def read(n):
    with LOCK:
        NUMBERS.seek(8 * n)
        time.sleep(0.002)
        return int(NUMBERS.read(8))

async def answer(n):
    return await in_thread(read, n)
"""
NUMBERS = "".join(f"{n * n:8}" for n in range(1000))

ROWS = [
    Row(
        name="os.fork in a handler",
        code=FORK + "async def answer(n):\n    return fork_square(n)\n",
    ),
    Row(
        name="os.fork in a thread",
        code=FORK
        + "async def answer(n):\n    return await in_thread(fork_square, n)\n",
    ),
    Row(
        name="a child that is terminated at once",
        code="import multiprocessing\n"
        + SQUARE
        + """
def run(n):
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    child.terminate()
    child.join()
    assert child.exitcode == -15, child.exitcode
    return n * n

async def answer(n):
    return await in_thread(run, n)
""",
    ),
    Row(
        name="a pool in a with",
        code="import multiprocessing\n"
        + SQUARE
        + """
def run(n):
    with multiprocessing.Pool(1) as pool:
        return pool.apply(square, (n,))

async def answer(n):
    return await in_thread(run, n)
""",
        is_quick=True,
    ),
    Row(
        name="a pool made in on_start",
        code="import multiprocessing\n"
        + SQUARE
        + """
@web.on_start
def start():
    global POOL
    POOL = multiprocessing.Pool(1)

async def answer(n):
    return await in_thread(POOL.apply, square, (n,))
""",
    ),
    Row(
        name="an executor of processes made in on_start",
        code=EXECUTOR
        + """
@web.on_start
def start():
    global EXECUTOR
    EXECUTOR = concurrent.futures.ProcessPoolExecutor(1)
""",
    ),
    Row(
        name="an executor of processes made at import",
        code=EXECUTOR + "EXECUTOR = concurrent.futures.ProcessPoolExecutor(1)\n",
        is_shared=False,
        says=(r"event=fork_unsafe .*a ProcessPoolExecutor was made \(app\.EXECUTOR\)",),
    ),
    Row(
        name="a script whose executor of processes forks at once",
        code=EXECUTOR
        + """
EXECUTOR = concurrent.futures.ProcessPoolExecutor(1)
assert EXECUTOR.submit(square, 2).result() == 4

if __name__ == "__main__":
    web.runner()
""",
        app="app.py",
    ),
    Row(
        name="an executor of spawned processes",
        code=EXECUTOR
        + """
import multiprocessing
import squares
square = squares.square

@web.on_start
def start():
    global EXECUTOR
    context = multiprocessing.get_context("spawn")
    EXECUTOR = concurrent.futures.ProcessPoolExecutor(1, mp_context=context)
""",
        files={"squares.py": "def square(n):\n    return n * n\n"},
    ),
    Row(
        name="a pool of the forkserver of multiprocessing",
        code="""
import multiprocessing, squares

@web.on_start
def start():
    global POOL
    POOL = multiprocessing.get_context("forkserver").Pool(1)

async def answer(n):
    return await in_thread(POOL.apply, squares.square, (n,))
""",
        files={"squares.py": "def square(n):\n    return n * n\n"},
    ),
    Row(
        name="a pool made at import",
        code="import multiprocessing\n"
        + SQUARE
        + """
POOL = multiprocessing.Pool(1)

async def answer(n):
    return await in_thread(POOL.apply, square, (n,))
""",
        is_shared=False,
    ),
    Row(
        name="a queue of multiprocessing made at import",
        code="""
import multiprocessing

QUEUE = multiprocessing.SimpleQueue()
LOCK = threading.Lock()

def pass_through(n):
    with LOCK:
        QUEUE.put(n * n)
        return QUEUE.get()

async def answer(n):
    return await in_thread(pass_through, n)
""",
        is_shared=False,
        says=(r"event=fork_unsafe .*\(app\.QUEUE\)",),
    ),
    Row(
        name="a manager made at import",
        code="""
import multiprocessing

MANAGER = multiprocessing.Manager()
NUMBERS = MANAGER.dict()

def keep(n):
    NUMBERS[n] = n * n
    return NUMBERS[n]

async def answer(n):
    return await in_thread(keep, n)
""",
        is_shared=False,
    ),
    Row(
        name="a helper process made at import",
        code=HELPER + "begin()\n",
        is_shared=False,
        says=(r"event=fork_unsafe .*app\.py:\d+",),
    ),
    Row(
        name="a helper process made in on_start",
        code=HELPER + "web.on_start(begin)\n",
    ),
    Row(
        name="a forked process with a loop of its own",
        code="""
import multiprocessing

async def run(n, sender):
    await asyncio.sleep(0.001)
    sender.send(n * n)

def live(n, sender):
    asyncio.run(run(n, sender))

def ask(n):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=live, args=(n, sender))
    child.start()
    found = receiver.recv()
    child.join()
    assert child.exitcode == 0
    return found

async def answer(n):
    return ask(n)
""",
    ),
    Row(
        name="a forked process with a loop, and plain asyncio",
        code="""
import multiprocessing

def live(n, sender):
    async def run():
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        server.close()
        sender.send(n * n)
    asyncio.run(run())

def ask(n):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=live, args=(n, sender))
    child.start()
    child.join()
    return receiver.recv()

async def answer(n):
    return ask(n) if n % 2 else await in_thread(ask, n)
""",
        options=("--loop", "asyncio"),
    ),
    Row(
        name="an asyncio subprocess in each request",
        code="""
async def answer(n):
    words = ("-c", f"print({n} ** 2)")
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-S", *words, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    return int(output)
""",
    ),
    Row(
        name="a subprocess with a preexec_fn",
        code="""
import subprocess

def run(n):
    words = [sys.executable, "-S", "-c", f"print({n} ** 2)"]
    return int(subprocess.check_output(words, preexec_fn=lambda: os.nice(1)))

async def answer(n):
    return await in_thread(run, n)
""",
    ),
    Row(
        name="a process that the import starts and forgets",
        code="""
import subprocess

FORGOTTEN = subprocess.Popen(["sleep", "600"])

async def answer(n):
    return n * n
""",
        is_shared=False,
        says=(r"event=fork_unsafe .*the process 'sleep 600' runs \(app\.py:\d+\)",),
    ),
    Row(
        name="a process that the import forks and forgets",
        code="""
if os.fork() == 0:
    while True:
        time.sleep(1)

async def answer(n):
    return n * n
""",
        is_shared=False,
    ),
    Row(
        name="processes that on_start and requests start and forget",
        code="""
import subprocess

@web.on_start
def start():
    subprocess.Popen(["sleep", "600"])
    if os.fork() == 0:
        while True:
            time.sleep(1)

async def answer(n):
    subprocess.Popen(["sleep", "600"])
    return n * n
""",
    ),
    Row(
        name="a file that is read since the import",
        code=FILE + "NUMBERS.read(8)\n",
        files={"numbers": NUMBERS},
        is_shared=False,
        says=(r"event=fork_unsafe .*the file numbers is open \(app\.py:\d+\)",),
    ),
    Row(
        name="a zip file that is open since the import",
        code="""
import zipfile

with zipfile.ZipFile("numbers.zip", "w", zipfile.ZIP_DEFLATED) as file:
    for n in range(400):
        file.writestr(str(n), str(n * n) * 50)
ZIP = zipfile.ZipFile("numbers.zip")

def read(n):
    text = ZIP.read(str(n)).decode()
    return int(text[:len(text) // 50])

async def answer(n):
    return await in_thread(read, n)
""",
        is_shared=False,
    ),
    Row(
        name="a data base that is open since the import",
        code="""
import sqlite3

BASE = sqlite3.connect("numbers.db", check_same_thread=False, timeout=10)
BASE.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER)")
BASE.commit()
LOCK = threading.Lock()

def keep(n):
    with LOCK, BASE:
        BASE.execute("INSERT INTO numbers VALUES (?)", (n,))
        return n * n

async def answer(n):
    return await in_thread(keep, n)
""",
        is_shared=False,
    ),
    Row(
        name="a log file that is open since the import",
        code="""
import logging

logging.getLogger("own").addHandler(logging.FileHandler("own.log"))

async def answer(n):
    logging.getLogger("own").warning("%s", n)
    return n * n
""",
    ),
    Row(
        name="memory that is shared since the import",
        code="""
import mmap

MEMORY = mmap.mmap(-1, 4096)
LOCK = threading.Lock()

def keep(n):
    with LOCK:
        MEMORY[:8] = f"{n * n:8}".encode()
        time.sleep(0.002)
        return int(MEMORY[:8])

async def answer(n):
    return await in_thread(keep, n)
""",
        is_shared=False,
        says=(r"event=fork_unsafe .*shared memory is mapped .*\(app\.py:\d+\)",),
    ),
    Row(
        name="a thread that serves since the import",
        code="""
import concurrent.futures, queue

WORK = queue.Queue()

def serve():
    while True:
        n, future = WORK.get()
        future.set_result(n * n)

threading.Thread(target=serve, daemon=True, name="server").start()

async def answer(n):
    future = concurrent.futures.Future()
    WORK.put((n, future))
    return await asyncio.wrap_future(future)
""",
        is_shared=False,
        says=(r"event=fork_unsafe .*the thread 'server' is running \(",),
    ),
    Row(
        name="a thread that is not a daemon, and ends when it is told",
        code="""
OVER = threading.Event()

@web.on_start
def start():
    threading.Thread(target=OVER.wait, name="waiter").start()

@web.on_stop
def stop():
    OVER.set()

async def answer(n):
    return n * n
""",
    ),
    Row(
        name="an executor of threads made at import",
        code="import concurrent.futures\n"
        + SQUARE
        + """
EXECUTOR = concurrent.futures.ThreadPoolExecutor(2)

async def answer(n):
    return await asyncio.get_running_loop().run_in_executor(EXECUTOR, square, n)
""",
    ),
    Row(
        name="an agent that sitecustomize starts",
        code="""
async def answer(n):
    names = [thread.name for thread in threading.enumerate()]
    return n * n if "agent" in names else -1
""",
        files={
            "sitecustomize.py": "import threading\n"
            "threading.Thread(target=threading.Event().wait, daemon=True, "
            "name='agent').start()\n"
        },
        env={"PYTHONPATH": "."},
        is_shared=False,
    ),
    Row(
        name="a temporary folder made at import",
        code="""
import tempfile

FOLDER = tempfile.TemporaryDirectory()

def keep(n):
    path = os.path.join(FOLDER.name, f"{os.getpid()}-{n}")
    with open(path, "w") as file:
        file.write(str(n * n))
    with open(path) as file:
        return int(file.read())

async def answer(n):
    return await in_thread(keep, n)
""",
    ),
    Row(
        name="generators seeded at import",
        code="""
import random

RANDOM = random.Random(7)
FIRST = [None]

@web.on_start
def start():
    FIRST[0] = RANDOM.random()
    assert FIRST[0] != random.Random(7).random()

async def answer(n):
    return n * n
""",
    ),
    Row(
        name="SIGCHLD ignored at import",
        code="""
import signal

signal.signal(signal.SIGCHLD, signal.SIG_IGN)

async def answer(n):
    return n * n
""",
    ),
    Row(
        name="every child reaped by a handler of the import",
        code=FORK
        + """
import signal

def reap(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass

signal.signal(signal.SIGCHLD, reap)

async def answer(n):
    return n * n
""",
    ),
    Row(
        name="SIGCHLD ignored by who starts it",
        code="async def answer(n):\n    return n * n\n",
        prefix=("sh", "-c", 'trap "" CHLD; exec "$@"', "sh"),
    ),
    Row(
        name="an executor of processes with --preload",
        code=EXECUTOR
        + """
import multiprocessing

COUNT = multiprocessing.Value("i")

@web.on_start
def start():
    global EXECUTOR
    EXECUTOR = concurrent.futures.ProcessPoolExecutor(1)
    with COUNT.get_lock():
        COUNT.value += 1
""",
        options=("--preload",),
        is_shared=False,
        says=(r"event=fork_unsafe .*--preload", "imported once for all workers"),
    ),
]
