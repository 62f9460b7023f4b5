"""The messages between master, forkserver and workers. Values only.

One message is one datagram on a SEQPACKET socketpair, so that none is ever
seen half; descriptors travel beside it.

What is changed here makes another protocol by itself (``protocol.find_protocol``).
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from blazeio_supervisor.ipc.processes import Identity
from blazeio_supervisor.log.formats import WORKER_EVENTS, LogConfig

CHANNEL_CLOSED = 70
"""Exit status of a child whose channel was closed by code of the app."""
MOST_TASKS = 64
"""Tasks that run once, of one app."""

BROADCAST_BYTES = 32 * 1024
"""The longest message of the app to all workers."""

TaskName = Annotated[str, Meta(min_length=1, max_length=100)]
TimeOfDay = tuple[Annotated[int, Meta(ge=0, le=23)], Annotated[int, Meta(ge=0, le=59)]]
Pid = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Serial = Annotated[int, Meta(ge=1, le=2**53)]
Port = Annotated[int, Meta(ge=0, le=65535)]
Host = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*\Z")]
WorkerEventName = Annotated[str, Meta(pattern=rf"^({'|'.join(WORKER_EVENTS)})\Z")]

LoopName = Literal["uvloop", "asyncio"]


class ListenerInfo(msgspec.Struct, frozen=True, array_like=True):
    """What a worker must know of a listener.

    Attributes:
        is_shared: Workers of other slots accept from it too.
        is_kept: It outlives the service: systemd keeps it. Nobody shuts it, and
            what waits in it at the end waits for the next start.
        scheme: What is spoken there; "": https where there is a certificate.
    """

    is_shared: bool = False
    is_kept: bool = False
    scheme: str = ""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator says instead of the App, checked by then.

    Whatever is None, or not there, is as the App says.

    Attributes:
        tls: The fields of ``TlsSettings``; the App's own are then not used.
        limits: Fields of ``Limits``.
        forwarded_allow_ips: See ``App``; "" is nobody.
        proxy_protocol_allow_ips: See ``App``; "" is nobody.
        root_path: See ``App``.
        headers: Fields of each response.
        has_server_header: Each response says ``Server``.
        has_date_header: Each response says ``Date``.
        http2: False: HTTP/2 is not spoken.
        access_log: See ``App``.
        access_log_format: See ``App``.
    """

    tls: dict[str, Any] | None = None
    limits: dict[str, Any] = {}
    forwarded_allow_ips: str | None = None
    proxy_protocol_allow_ips: str | None = None
    root_path: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    has_server_header: bool = True
    has_date_header: bool = True
    http2: bool = True
    access_log: str | None = None
    access_log_format: str | None = None


class _Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Tagged by its class name."""


# master -> forkserver


InterfaceName = Literal["auto", "blazeio", "asgi", "wsgi"]
LifespanName = Literal["auto", "on", "off"]


class GatewayConfig(msgspec.Struct, frozen=True):
    """What an app of another interface is served with.

    Attributes:
        interface: What the app is; auto: found by its arguments.
        lifespan: Whether an ASGI app has to have one.
        threads: Requests of a WSGI app that one worker runs at once.
        sends_paths: Announce ``http.response.pathsend``.
        compresses_websockets: Agree to permessage-deflate.
        ws_message_bytes: Largest message of a WebSocket.
        ws_ping_every_s: A silent client is pinged after this; None: never.
        ws_ping_timeout_s: It is gone if it is silent for so long after that.
    """

    interface: InterfaceName = "auto"
    lifespan: LifespanName = "auto"
    threads: int = 4
    sends_paths: bool = False
    compresses_websockets: bool = True
    ws_message_bytes: int = 16 * 1024 * 1024
    ws_ping_every_s: float | None = 20.0
    ws_ping_timeout_s: float = 20.0


class Additions(msgspec.Struct, frozen=True):
    """What is added to an app from outside.

    Attributes:
        static_folders: Paths of URLs, each with the folder that is served below it.
        post_fork: Functions that each worker calls before every ``on_start`` hook.
        worker_exit: Functions that it calls after every ``on_stop`` hook.
    """

    static_folders: tuple[tuple[str, str], ...] = ()
    post_fork: tuple[str, ...] = ()
    worker_exit: tuple[str, ...] = ()


class Load(_Message, frozen=True):
    """The first message: what to import, and how its workers will run.

    Carries where its stacks go, then where to print if output is captured.

    Attributes:
        folder: The working directory, as typed.
        log: How its processes write the log.
        is_preload: Import the app here, once; else each worker does it.
        loop: The kind of event loop, whatever the app says; None: the app may choose.
        is_forced: Fork after the import, whatever it has left behind.
        tasks: Functions to run once, as of ``--task``.
        identity: The user to become before the import; None: that of the master.
        umask: The umask of the app; None: that of the master.
        is_factory: The attribute must be a function that makes the App.
        cpus: The worker of slot n is bound to the nth of them, round and round.
        master_pid: The pid of the master, whose death its children watch for.
        overrides: What wins over the App's own settings.
        gateway: What the app is served with, if it is no App.
        bridges_prometheus: Show what ``prometheus_client`` counts, over all workers.
        slot_env: Variables of each worker; ``{slot}`` in a value is its slot.
        warm: Paths that the forkserver answers before it forks.
        counts_routes: Each worker counts how each route is answered, in its row.
        additions: Static files and hooks that are not the app's own.
    """

    generation: int
    app: str
    folder: str
    app_dir: str
    is_preload: bool
    loop: LoopName | None
    graceful_timeout_s: float
    drain_idle_s: float
    farewell_window_s: float
    log: LogConfig
    master_pid: int
    overrides: Overrides
    identity: Identity | None = None
    umask: int | None = None
    is_factory: bool = False
    cpus: tuple[int, ...] = ()
    is_forced: bool = False
    gateway: GatewayConfig = GatewayConfig()
    bridges_prometheus: bool = False
    counts_routes: bool = False
    warm: tuple[str, ...] = ()
    slot_env: tuple[tuple[str, str], ...] = ()
    tasks: tuple[str, ...] = ()
    additions: Additions = Additions()


class Fork(_Message, frozen=True):
    """Fork one worker.

    Carries its end of the channel, where its stacks go, its row of the scoreboard,
    where it prints if that is captured, then its listeners.

    Attributes:
        is_canary: It accepts from its slot only after ``Admit``.
        is_bound: The listeners are here; else the worker asks for them by ``Address``.
        terms: One for each listener, in order.
    """

    worker: int
    slot: int
    is_canary: bool = False
    is_bound: bool = True
    terms: tuple[ListenerInfo, ...] = ()


class Quit(_Message, frozen=True):
    """The generation is over; the forkserver ends, its workers live on."""


# forkserver -> master


class Loaded(_Message, frozen=True):
    """The app is imported (or each worker will do it); ready to fork.

    Attributes:
        host: The App's own host; None when it was not imported here.
        is_tls: The App speaks TLS.
        warm_count: How many ``on_warm`` hooks and answers of ``Load.warm`` went well.
        cold: Of the others what went wrong, a line for each.
    """

    host: Host | None = None
    port: Port = 0
    is_tls: bool = False
    warm_count: int = 0
    cold: tuple[str, ...] = ()


class Unsafe(_Message, frozen=True):
    """Forking after this import would break the app, for these reasons.

    Attributes:
        findings: In words, each with where it was made, if that is known.
        is_forced: It is forked all the same, as the operator wants it.
    """

    findings: tuple[str, ...]
    is_forced: bool = False


class Forked(_Message, frozen=True):
    """The worker lives under this pid, and is the master's own child."""

    worker: Serial
    pid: Pid


class ForkFailed(_Message, frozen=True):
    """No process could be made."""

    worker: Serial
    reason: str


# forkserver or worker -> master


class Importing(_Message, frozen=True):
    """Code of the app runs from now on: whoever ends without a word ended in it."""


class Failed(_Message, frozen=True):
    """The app did not start; the sender exits next.

    Its shape never changes: a forkserver of another protocol says so by it.

    Attributes:
        code: The exit code that this failure deserves.
        reason: One line.
        traceback: The app's own frames, for the master to print: a failed
            start of eight workers should print one traceback.
    """

    code: Annotated[int, Meta(ge=0, le=255)]
    reason: str
    traceback: str = ""


# worker -> master


class Address(_Message, frozen=True):
    """The App's own address; the worker waits for ``Listen``."""

    host: Host
    port: Port


class TaskInfo(msgspec.Struct, frozen=True, array_like=True):
    """A task that runs once, of the worker's app.

    Attributes:
        name: By which it is known over reloads.
        every_s: Of its schedule: from the beginning of a run to the next.
        at: Of its schedule: the hour and minute of each day.
    """

    name: TaskName
    every_s: Annotated[float, Meta(ge=1)] | None = None
    at: TimeOfDay | None = None


class Ready(_Message, frozen=True):
    """The app has started; the worker accepts (a canary: would).

    Attributes:
        is_tls: It speaks TLS.
        tasks: Those that run once.
    """

    is_tls: bool = False
    tasks: Annotated[tuple[TaskInfo, ...], Meta(max_length=MOST_TASKS)] = ()


class TaskBegan(_Message, frozen=True):
    """A run of a task that runs once begins; sent before it does."""

    name: TaskName


class TaskEnded(_Message, frozen=True):
    """Such a run is over.

    Attributes:
        name: The name of the task.
        failure: What it has raised, in one line; "" when nothing.
    """

    name: TaskName
    failure: str = ""


class Broadcast(_Message, frozen=True):
    """A message of the app to all workers; the master passes it on as it is."""

    payload: Annotated[bytes, Meta(max_length=BROADCAST_BYTES)]


class ReturnLease(_Message, frozen=True):
    """All of these tasks have ended, and this worker begins none any more."""


class WorkerEvent(_Message, frozen=True):
    """An event that a worker sends; the master notes it as a warning.

    Attributes:
        text: What, why, and what comes next.
        traceback: Of the app, if it raised, or where it is.
    """

    event: WorkerEventName
    text: str
    traceback: str = ""


# master -> worker


class Listen(_Message, frozen=True):
    """Accept from these in the place of the own ones; carries them.

    The answer to ``Address``; and sent again when listeners were recreated.
    """

    terms: tuple[ListenerInfo, ...] = ()


class ServeConnection(_Message, frozen=True):
    """Carries a connection: serve it, though nothing is accepted yet."""


class Admit(_Message, frozen=True):
    """The canary passed: accept from the slot."""


class Lease(_Message, frozen=True):
    """Run the tasks that run once, until the drain; nobody else does.

    Attributes:
        last: By name, when the last run of each began, seconds since 1970.
    """

    last: dict[str, float]


class TakeConnections(_Message, frozen=True):
    """Carries a socket by which connections of a worker that ends come.

    The other end goes to that worker, beside its ``Drain``.
    """


class Renew(_Message, frozen=True):
    """Have clients connect anew: of so many connections the next response is the last.

    Answered by nothing.
    """

    count: int


class Drain(_Message, frozen=True):
    """Stop accepting, answer what is in flight, exit 0.

    It may carry a socket by which connections go to a worker that serves.

    Attributes:
        grace_s: How long that may take.
        is_final: The service ends and no worker follows: accept the whole queue first,
            then refuse new connections.
    """

    grace_s: float
    is_final: bool = False


class IgnoreTerm(_Message, frozen=True):
    """The service will end soon: serve on until ``Drain``, whoever sends TERM.

    A TERM to the whole process group reaches the workers as well as the master.
    """


class Adopt(_Message, frozen=True):
    """Accept from this slot's queue too. Carries its listeners."""

    slot: int
    terms: tuple[ListenerInfo, ...] = ()


class Release(_Message, frozen=True):
    """Leave this slot's queue alone again."""

    slot: int


class ReopenLogs(_Message, frozen=True):
    """The files were renamed: write to new ones.

    Carries the new one of the log, if that is a file.
    """


FromForkserver = Importing | Loaded | Unsafe | Forked | ForkFailed | Failed
FromWorker = (
    Importing
    | Address
    | Ready
    | WorkerEvent
    | TaskBegan
    | TaskEnded
    | ReturnLease
    | Broadcast
    | Failed
)
FromChild = FromForkserver | FromWorker
"""What the master receives; the receiver checks more than the shape of each."""

Message = (
    Load
    | Fork
    | Quit
    | FromForkserver
    | FromWorker
    | Listen
    | ServeConnection
    | Admit
    | Lease
    | TakeConnections
    | Renew
    | Drain
    | IgnoreTerm
    | Adopt
    | Release
    | ReopenLogs
)
