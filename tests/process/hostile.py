"""What an app does that was taken over: it may do all that its user may.

``HOSTILE`` is the code of an app with a route for each deed. What is common to
them is found as an intruder would find it: by looking at the own process.
"""

HOSTILE = r'''
import array, asyncio, ctypes, fcntl, math, mmap, os, random, resource, signal, socket
import struct, sys, termios, threading, time
import msgspec
import blazeio as io

web = io.App("127.0.0.1", 0)
libc = ctypes.CDLL(None, use_errno=True)
pack = msgspec.msgpack.encode
held = []  # kept open, and alive


def sockets(kind):
    """All of a type, whatever they are for."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue
        is_it = sock.family == socket.AF_UNIX and sock.type == kind
        (found if is_it else held).append(sock)
    return found


def channel():
    return sockets(socket.SOCK_SEQPACKET)[0]


def streams():
    return sockets(socket.SOCK_STREAM)


def rows():
    """Every memory that is shared with the supervisor."""
    for line in open("/proc/self/maps"):
        if "blazeio-scoreboard" in line and line.split()[1].startswith("rw"):
            begin, end = (int(part, 16) for part in line.split()[0].split("-"))
            yield begin, end - begin


def scribble(make):
    """Write over all of them, again and again."""
    def run():
        places = list(rows())
        assert places
        while True:
            for begin, size in places:
                octets = make(size)
                ctypes.memmove(begin, octets, size)
            time.sleep(0.0005)
    for _ in range(2):
        threading.Thread(target=run, daemon=True).start()


def said(text="x" * 100):
    return pack({"type": "Said", "event": "requests_cut", "text": text})


def siblings():
    """Other processes of the same user, of this service."""
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                status = open(f"/proc/{name}/status").read()
                line = open(f"/proc/{name}/cmdline").read()
            except OSError:
                continue
            if f"\nUid:\t{os.getuid()}\t" in status and "blazeio: " in line:
                if same_service(int(name)):
                    yield int(name), "forkserver" in line


def same_service(pid):
    return os.getpgid(pid) == os.getpgid(0)


def send_for(seconds, sock, octets):
    end = time.monotonic() + seconds
    sock.setblocking(True)
    while time.monotonic() < end:
        try:
            sock.send(octets)
        except OSError:
            return


def in_threads(function, *arguments, count=1):
    for _ in range(count):
        threading.Thread(target=function, args=arguments, daemon=True).start()


# Memory

def nan_everywhere():
    scribble(lambda size: struct.pack("d", math.nan) * (size // 8))

def infinities_everywhere():
    scribble(lambda size: struct.pack("d", -math.inf) * (size // 8))

def noise_everywhere():
    scribble(os.urandom)

def sizes_of_memories():
    for name in os.listdir("/proc/self/fd"):
        for size in (0, 1 << 40):
            try:
                if "memfd:" in os.readlink(f"/proc/self/fd/{name}"):
                    os.ftruncate(int(name), size)
            except OSError:
                pass
    for begin, size in rows():
        libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), 9)  # remove
        libc.munmap(ctypes.c_void_p(begin), ctypes.c_size_t(size))

def beats_from_the_future():
    lies = struct.pack("6d", 1e15, 0, 2**60, 2**60, 1, 1e15)
    scribble(lambda size: lies + bytes(size - len(lies)))

# Messages

def junk():
    channel().send(b"\xc1junk")

def junk_then_death():
    sock = channel()
    sock.setblocking(False)
    try:
        while True:
            sock.send(b"\xc1junk")
    except BlockingIOError:
        os._exit(1)

def nothing():
    channel().send(b"")

def giant():
    sock = channel()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    sock.send(said("x" * 150_000))

def deep():
    channel().send(b"\x82\xa4type\xa5Ready\xa1x" + b"\x91" * 60_000 + b"\xc0")

def flood():
    in_threads(send_for, 20, channel(), said(), count=4)

def flood_by_children():
    sock = channel()
    for _ in range(4):
        if os.fork() == 0:
            send_for(6, sock, said())
            os._exit(0)

def flood_of_texts():
    sock = channel()
    text = "\u2028\x1b]0;x\x07\n" * 8_000
    for _ in range(50):
        sock.send(said(text))

def ready_again():
    for _ in range(3):
        channel().send(pack({"type": "Ready"}))

def words_of_a_forkserver():
    for pid in (1, os.getppid(), -1, 2**40):
        channel().send(pack({"type": "Forked", "worker": 1, "pid": pid}))

def orders_of_the_master():
    channel().send(pack({"type": "Stop"}))

def failed_and_goes_on():
    for _ in range(9):
        channel().send(pack({"type": "Failed", "code": 3, "reason": "\x1b[2J" * 999}))

def another_address():
    channel().send(pack({"type": "Address", "host": "0.0.0.0", "port": 22}))

# Descriptors

def descriptors():
    for sock in [*sockets(socket.SOCK_SEQPACKET), *streams()]:
        sock.setblocking(False)
        for _ in range(40):
            try:
                socket.send_fds(sock, [said()], [0] * 253)
            except OSError:
                break

def descriptors_that_linger():
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    held.append(listener.accept())
    sender.setblocking(False)
    on = struct.pack("2i", 1, 3600)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on)
    try:
        while True:
            sender.send(bytes(1 << 16))
    except BlockingIOError:
        pass
    for sock in [*sockets(socket.SOCK_SEQPACKET), *streams()]:
        try:
            socket.send_fds(sock, [said()], [sender.fileno()])
        except OSError:
            pass

def forged_credentials():
    sock = channel()
    for pid, uid in ((os.getppid(), 0), (1, 0), (os.getpid(), 0)):
        creds = struct.pack("3i", pid, uid, 0)
        try:
            sock.sendmsg([said()], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, creds)])
        except OSError:
            pass

def shared_flags():
    for name in os.listdir("/proc/self/fd"):
        try:
            fcntl.fcntl(int(name), fcntl.F_SETFL, random.choice((0, os.O_NONBLOCK)))
            os.lseek(int(name), 0, os.SEEK_SET)
        except OSError:
            pass

def listeners_that_block():
    def run():
        found = [sock for sock in held if sock.family == socket.AF_INET]
        while True:
            for sock in found:
                fcntl.fcntl(sock, fcntl.F_SETFL, 0)
    sockets(socket.SOCK_SEQPACKET)
    in_threads(run)

def every_stream_is_full():
    for sock in streams():
        in_threads(send_for, 1, sock, b"x" * 4096)

def nothing_is_read():
    def stop():
        while True:
            time.sleep(1)
    for number in (signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    stop()

def channel_is_closed():
    for sock in sockets(socket.SOCK_SEQPACKET):
        sock.shutdown(socket.SHUT_RDWR)

# Printing

def printing():
    """More than anybody reads; not without end, since a test keeps it."""
    def run():
        for _ in range(30):
            os.write(1, b"x\n" * 30_000)
            os.write(2, b"\x0c\xe2\x80\xa8" * 16_000 + b"\n")
    in_threads(run, count=2)

# Others

def kill_siblings():
    for pid, is_forkserver in siblings():
        if not is_forkserver:
            os.kill(pid, signal.SIGKILL)

def stop_siblings():
    for pid, is_forkserver in siblings():
        if not is_forkserver:
            os.kill(pid, signal.SIGSTOP)

def kill_forkserver():
    for pid, is_forkserver in siblings():
        if is_forkserver:
            os.kill(pid, signal.SIGKILL)

PTRACE_SEIZE = 0x4206

def trace_siblings():
    """A tracer that never waits keeps who has died from its parent."""
    pids = [pid for pid, _ in siblings()]
    done, when_done = os.pipe()
    if os.fork() == 0:
        os.setsid()
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        for pid in pids:
            libc.ptrace(PTRACE_SEIZE, pid, 0, 0)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        os.write(when_done, b"x")
        time.sleep(20)
        os._exit(0)
    os.read(done, 1)

def words_of_siblings():
    """On channels that were taken from them."""
    for pid, _ in siblings():
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue
        for number in range(64):
            fd = libc.syscall(438, pidfd, number, 0)  # pidfd_getfd
            if fd < 0:
                continue
            try:
                sock = socket.socket(fileno=fd)
            except OSError:
                os.close(fd)
                continue
            if sock.type == socket.SOCK_SEQPACKET:
                sock.setblocking(False)
                for _ in range(100):
                    try:
                        sock.send(b"\xc1junk")
                    except OSError:
                        break
            sock.close()

def leave_orphans():
    libc.prctl(36, 1, 0, 0, 0)  # a subreaper of its own
    for _ in range(60):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(random.random())
            os._exit(0)
    libc.prctl(36, 0, 0, 0, 0)
    for _ in range(60):
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(random.random())
            os._exit(0)

# The master, and root

def be_root():
    """Whatever might let it; what it could do lies where a test looks."""
    done = []
    master = os.getppid()
    def attempt(name, function, *arguments):
        try:
            function(*arguments)
        except Exception:
            return
        done.append(name)
    attempt("setuid", os.setuid, 0)
    attempt("setresuid", os.setresuid, 0, 0, 0)
    attempt("setgroups", os.setgroups, [0])
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, signal.SIGHUP):
        attempt(f"kill {number}", os.kill, master, number)
    for name in ("mem", "environ", "fd", "maps", "map_files"):
        path = f"/proc/{master}/{name}"
        attempt(name, os.listdir if name in ("fd", "map_files") else open, path)
    attempt("own fds", reopen_all)
    attempt("oom", lambda: open(f"/proc/{master}/oom_score_adj", "w").write("1000"))
    attempt("sched", os.sched_setaffinity, master, {0})
    attempt("priority", os.setpriority, os.PRIO_PROCESS, master, 19)
    attempt("limits", resource.prlimit, master, resource.RLIMIT_NOFILE, (0, 0))
    pidfd = os.pidfd_open(master)
    for number in range(40):
        if libc.syscall(438, pidfd, number, 0) >= 0:
            done.append(f"pidfd_getfd {number}")
    return " ".join(done)

def reopen_all():
    """Open what root has opened once more, with more rights."""
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        try:
            is_roots = os.stat(path).st_uid == 0 and os.readlink(path).startswith("/")
            if is_roots and not os.readlink(path).startswith(("/dev/", "/memfd:")):
                os.close(os.open(path, os.O_RDWR))
                return
        except OSError:
            continue
    raise PermissionError

def type_for_root():
    """Push words into the terminal from which the service was started."""
    for path in ("/dev/tty", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2"):
        try:
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            for octet in b"touch typed\n":
                fcntl.ioctl(fd, termios.TIOCSTI, bytes([octet]))
            return "typed"
        except OSError:
            continue
    return ""


DEEDS = {name: value for name, value in globals().items() if callable(value)}


@web.add_route
async def pid(r, route="/"):
    await io.Deliver.text(r, str(os.getpid()))


@web.add_route
async def deed(r, route="/deed"):
    await io.Deliver.text(r, DEEDS[r.query]() or "")


@web.add_route
async def later(r, route="/later"):
    """The same, when the answer has left."""
    asyncio.get_running_loop().call_later(0.05, DEEDS[r.query])
    await io.Deliver.text(r, "")
'''
