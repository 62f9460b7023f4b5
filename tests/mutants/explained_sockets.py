"""Those of the sockets: see ``explained.py``."""

from tests.mutants.explanation import Explained

_SOCKETS = "supervisor/blazeio_supervisor/sockets"
SOCKETS: tuple[Explained, ...] = (
    Explained(
        "a name stands for one address of each kind of socket, and each is kept once",
        *(f"{_SOCKETS}/address.py", "resolve", ("-*type=socket.SOCK_STREAM,",)),
    ),
    Explained(
        "a name in ASCII is the same one as octets and as a text, which costs more",
        f"{_SOCKETS}/address.py",
        "resolve",
        ("(host.encode() if (host.isascii()) * else host) or None,",),
    ),
    Explained(
        "an option is set by any number but 0",
        f"{_SOCKETS}/bind.py",
        "*",
        (
            "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 2)",
            "sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 2)",
            "sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 2)",
        ),
    ),
    Explained(
        "a socket is one of streams where nothing is said",
        f"{_SOCKETS}/bind.py",
        "_make_tcp",
        ("sock = socket.socket(family, )",),
    ),
    Explained(
        "a socket is one of streams where nothing is said; SOCK_STREAM is AF_UNIX, 1",
        f"{_SOCKETS}/bind.py",
        "_bind_unix",
        (
            "sock = socket.socket(socket.SOCK_STREAM)",
            "sock = socket.socket(socket.AF_UNIX, )",
        ),
    ),
    Explained(
        "who is asked for no socket finds nobody",
        *(f"{_SOCKETS}/bind.py", "find_holders", ("*(inodes) or True *",)),
    ),
    Explained(
        "there is one colon",
        f"{_SOCKETS}/bind.py",
        "*",
        ('digits, _, port = local.rpartition(":")',),
    ),
    Explained(
        "where the kernel has no table of the one family it has none of the other",
        *(f"{_SOCKETS}/bind.py", "_find_listening_inodes", ("break",)),
    ),
    Explained(
        "poll tells of a listener that is shut down whatever it is asked for, and of "
        "nothing else",
        f"{_SOCKETS}/listeners.py",
        "find_dead",
        (
            "poller.register(sock, )",
            "* in poller.poll(0) if events | _DEAD]",
        ),
    ),
    Explained(
        "it waits for a thousandth of a second",
        f"{_SOCKETS}/listeners.py",
        "find_dead",
        ("* in poller.poll(1) if events & _DEAD]",),
    ),
    Explained(
        "only a comparison jumps",
        f"{_SOCKETS}/reuseport.py",
        "make_program",
        (
            "(_LOAD_WORD, *",
            "(_MODULO, *",
            "program.append((_RETURN, 1, 0, *",
            "program.append((_RETURN, 0, 1, *",
        ),
    ),
    Explained(
        "only a comparison jumps",
        f"{_SOCKETS}/reuseport.py",
        "pick_always",
        ("* [(_RETURN, 1, 0, index)])", "* [(_RETURN, 0, 1, index)])"),
    ),
    Explained(
        "any member of a group stands for all of it",
        f"{_SOCKETS}/*.py",
        "*",
        ("host, port = sockets[1].getsockname()[:2]",),
    ),
    Explained(
        "what is detached is detached, whatever the number",
        f"{_SOCKETS}/reuseport.py",
        "*",
        ("*.setsockopt(socket.SOL_SOCKET, _SO_DETACH_REUSEPORT_BPF, 1)",),
    ),
    Explained(
        "both have one for each queue",
        f"{_SOCKETS}/reuseport.py",
        "*",
        ("* for each in queues), *", "* in zip(sockets, before, *"),
    ),
    Explained(
        "its text is read by nobody: the order is not known then",
        *(f"{_SOCKETS}/reuseport.py", "_count_queued", ("raise OSError(*",)),
    ),
    Explained(
        "a unix socket is one queue, to which none is ever added",
        f"{_SOCKETS}/listeners.py",
        "Listeners._open_unix",
        ("self._take_over(address, stored, is_fixed=True)",),
    ),
    Explained(
        "it was looked at just before",
        *(f"{_SOCKETS}/listeners.py", "_renew_unix", ("remove(path, None)",)),
    ),
)
