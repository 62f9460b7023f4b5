"""What the workers speak: limits, response heads, TLS; ASGI and WSGI.

The library's modules that check a value are imported where one is checked: ``--help``
needs none of them, and some import asyncio.
"""

import re
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args

from msgspec import UNSET, UnsetType

from blazeio.errors import ConfigurationError
from blazeio.limits import LEAST, Limits
from blazeio_supervisor.config.option import (
    Section,
    SettingError,
    list_options,
    option,
)
from blazeio_supervisor.config.types import (
    NONE,
    Choice,
    Count,
    Flag,
    Many,
    Number,
    Parsed,
    Seconds,
    Size,
    Text,
)
from blazeio_supervisor.ipc.messages import (
    GatewayConfig,
    InterfaceName,
    LifespanName,
)

_LIMITS: dict[str, Any] = {field.name: field.default for field in fields(Limits)}

Bound = float | None | UnsetType
"""UNSET: the bound of the App; None: no bound."""


def choose_kind(of: str) -> Number:
    """Choose how a field of ``Limits`` is written, by the unit in its name."""
    least = LEAST.get(of, 0)
    words = NONE if _LIMITS[of] is None else {}
    if of.endswith("_bytes"):
        return Size(least, words=words)
    if of.endswith("_per_s"):
        return Number(least, words=words)
    if of.endswith("_s"):
        return Seconds(least, words=words)
    return Count(least, words=words)


def format_default(of: str) -> str:
    """Write the default of a field of ``Limits`` as it is typed."""
    return choose_kind(of).write_text(_LIMITS[of])


def bound(of: str, text: str) -> Any:
    """Declare the option of a field of ``Limits``.

    Args:
        of: The name of the field.
        text: The help: what is bounded, and what happens beyond the bound.
    """
    default_text = format_default(of)
    return option(
        choose_kind(of), text, default=UNSET, default_text=default_text, of=of
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class WorkerLimits(Section):
    """Every bound of the request path."""

    title = "Limits of each worker (default: the App's, else as listed; SIZE: 64K, 1M)"

    max_in_flight: Bound = bound(
        "in_flight",
        # Refused at once, a client or balancer can go elsewhere (RFC 9110, section
        # 15.6.4); in a queue all would wait, also for answers that nobody waits for any
        # more.
        "Concurrent requests of a worker; more are answered with 503 and Retry-After.",
    )
    max_connections: Bound = bound(
        "connections",
        # Without a bound ``accept`` fails when descriptors have run out (EMFILE,
        # accept(2)). The connection then stays in the queue, which wakes the loop again
        # and again.
        "Open connections of a worker; at this number it stops accepting and closes "
        "idle ones. none: as many as the limit of file descriptors allows.",
    )
    handler_timeout_s: Bound = bound(
        "handler_timeout_s",
        "A handler that takes longer is cancelled, and the request is answered with "
        "503.",
    )
    head_timeout_s: Bound = bound(
        "head_timeout_s",
        # A bound for the whole of it: who sends an octet now and then (Slowloris) keeps
        # within any bound between two octets.
        "How long the head of a request may take from its first octet; after that 408.",
    )
    keep_alive_timeout_s: Bound = bound(
        # A proxy in front should give up first. A request that it sends while this side
        # closes is lost, and only an idempotent one may be sent again (RFC 9112,
        # section 9.3.1).
        "keep_alive_timeout_s",
        "How long an idle connection is kept.",
    )
    progress_bytes_per_s: Bound = bound(
        "progress_bytes_per_s",
        # A rate, as Apache has (MinRate of mod_reqtimeout): a large file may take its
        # time, and a trickle may not.
        "A client that sends or reads slower than this, over --progress-window, is "
        "disconnected.",
    )
    progress_window_s: Bound = bound(
        "progress_window_s", "The time over which --progress-bytes-per-s is measured."
    )
    half_close_grace_s: Bound = bound(
        "half_close_grace_s",
        # A FIN alone says only that no more is sent: some clients send one behind their
        # request (shutdown(2)), others are gone.
        "A client that has closed its sending side and has received no response "
        "within this time is considered gone: its handler is cancelled.",
    )
    linger_timeout_s: Bound = bound(
        "linger_timeout_s",
        # A close with octets unread makes the kernel send a reset, and that takes from
        # the client's buffer the response that it has not read yet (RFC 9112, section
        # 9.6).
        "After a response that is sent before all content was read, how long the rest "
        "is read and discarded, so that the client sees the response.",
    )
    max_linger_bytes: Bound = bound(
        "linger_bytes", "How much is read and discarded at most."
    )
    max_content_bytes: Bound = bound(
        "content_bytes",
        "Content of one request, streamed or not; larger: 413.",
    )
    max_collected_bytes: Bound = bound(
        "collected_bytes",
        "Content of one request that is collected in memory (get_json, forms, "
        "r.read); larger: 413.",
    )
    max_form_fields: Bound = bound(
        "form_field_count",
        "Fields of a form or query string; more: 413, or 400 for a query string.",
    )
    max_form_files: Bound = bound("form_file_count", "Files of a form; more: 413.")
    max_form_field_bytes: Bound = bound(
        "form_field_bytes",
        "One field of a multipart form that is not a file; larger: 413.",
    )
    max_part_field_count: Bound = bound(
        "part_field_count",
        "Header lines of each field or file of a multipart form; more: 413.",
    )
    max_part_field_bytes: Bound = bound(
        "part_field_bytes",
        "One of these lines, which may hold the name of a file; longer: 413.",
    )
    max_target_bytes: Bound = bound("target_bytes", "A request target; longer: 414.")
    max_head_bytes: Bound = bound("head_bytes", "A whole head; larger: 431.")
    max_field_bytes: Bound = bound(
        "field_bytes", "One field line of a head; longer: 431."
    )
    max_field_count: Bound = bound("field_count", "Field lines of a head; more: 431.")
    max_chunk_extension_bytes: Bound = bound(
        "chunk_extension_bytes", "Chunk extensions of one request; more: 400."
    )
    max_trailer_bytes: Bound = bound("trailer_bytes", "A trailer section; larger: 431.")
    pipeline_bytes: Bound = bound(
        "pipeline_bytes",
        "How much of pipelined requests is buffered behind the one being served; then "
        "reading pauses.",
    )
    receive_bytes: Bound = bound(
        "receive_bytes",
        "How much content is buffered for a handler that does not read it; then "
        "reading pauses.",
    )
    high_water_bytes: Bound = bound(
        "high_water_bytes",
        "How much of a response is buffered for a client that does not read it; then "
        "the handler waits.",
    )

    max_streams: Bound = bound(
        "streams",
        "Concurrent requests on an HTTP/2 connection; more: REFUSED_STREAM.",
    )
    max_stream_resets: Bound = bound(
        "stream_resets",
        # A stream that was reset counts no more among those that are open, but its work
        # was begun: by that bound alone clients have overwhelmed servers
        # (CVE-2023-44487).
        "Streams in a row that a client resets, or makes the server reset; more: the "
        "connection is closed (ENHANCE_YOUR_CALM).",
    )
    stream_resets_per_s: Bound = bound(
        "stream_resets_per_s",
        "How many of --max-stream-resets are regained per second.",
    )
    max_control_frames: Bound = bound(
        "control_frames",
        # Each has to be answered or looked at, and none counts as a request
        # (CVE-2019-9512, CVE-2019-9515).
        "Frames in a row that carry no request, such as PING; more: the connection is "
        "closed (ENHANCE_YOUR_CALM).",
    )
    control_frames_per_s: Bound = bound(
        "control_frames_per_s",
        "How many of --max-control-frames are regained per second.",
    )
    max_continuations: Bound = bound(
        "continuations",
        # A block without an end is no request yet, so that no other bound is met
        # (VU#421644).
        "CONTINUATION frames of a header block; more: the connection is closed.",
    )
    header_table_bytes: Bound = bound(
        "header_table_bytes",
        "The dynamic table for decoding a client's compressed header fields.",
    )
    connection_receive_bytes: Bound = bound(
        "connection_receive_bytes",
        "How much an HTTP/2 client may send before it is read, over all streams of a "
        "connection.",
    )

    @property
    def bounds(self) -> dict[str, Any]:
        """The fields of ``Limits`` that were given, with their values."""
        return {
            each.of: value
            for each in list_options(WorkerLimits)
            if (value := getattr(self, each.field)) is not UNSET
        }


# The head of every response.


Field = tuple[str, str]


def read_field(text: str) -> Field:
    """Read ``--header``.

    Raises:
        ValueError: The text is no field, or each response has such a field already.
    """
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("expected NAME: VALUE")
    from blazeio.protocol.options import HeaderConfig

    try:
        HeaderConfig(fields=((name, value.strip()),))
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return name, value.strip()


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Protocols(Section):
    """What is spoken beside HTTP/1.1."""

    title = "Protocols"

    http2: bool = option(
        Flag(),
        "Disable HTTP/2, in cleartext and over TLS (ALPN), whatever the App says.",
        default=True,
    )


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Heads(Section):
    """Fields of every response."""

    title = "Response heads"

    headers: tuple[Field, ...] = option(
        Many(Parsed(read_field, "'NAME: VALUE'", ": ".join), "\n"),
        "Add this field to every response for which the app has not set a field of "
        "that name. May be given several times.",
        default=(),
        default_text="none",
        key="header",
    )
    server_header: bool = option(Flag(), "Do not send `Server: blazeio`.", default=True)
    date_header: bool = option(
        Flag(),
        "Do not send `Date`, which RFC 9110 requires: for a server behind a proxy "
        "that adds it.",
        default=True,
    )


# HTTPS: certificates and keys, also of clients.


CertificatePair = tuple[str, str | None]


def read_pair(text: str) -> CertificatePair:
    """Read ``PEM`` or ``PEM,KEY``."""
    certfile, _, keyfile = text.partition(",")
    return certfile, keyfile or None


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Tls(Section):
    """TLS; each option sets a field of the library's ``TlsSettings``."""

    title = "TLS"

    certfile: str | None = option(
        Text("PEM"),
        "Speak HTTPS with this certificate, which is followed by its intermediates. "
        "The options of this section then replace the App's own tls. The file is read "
        "before privileges are dropped, and again at each reload.",
        default=None,
        default_text="the App's own, else plain HTTP",
        of="certfile",
    )
    keyfile: str | None = option(
        Text("PEM"),
        "The private key of --certfile.",
        default=None,
        default_text="it is in --certfile",
        of="keyfile",
    )
    keyfile_password_file: str | None = option(
        Text("PATH"),
        # Not the password itself: each user sees the words of a command line
        # (proc_pid_cmdline(5)).
        "A file whose first line is the password of encrypted keys.",
        default=None,
        default_text="none",
        of="keyfile_password_file",
    )
    other_certificates: tuple[CertificatePair, ...] = option(
        Many(Parsed(read_pair, "PEM[,KEY]", lambda pair: ",".join(filter(None, pair)))),
        "A certificate for clients that ask for another name (SNI), with its key if "
        "that is in another file. May be given several times.",
        default=(),
        default_text="none",
        of="other_certificates",
        key="other_certificate",
    )
    ca_certs: str | None = option(
        Text("PEM"),
        "The certificate authorities for client certificates; used with --client-cert.",
        default=None,
        default_text="none",
        of="client_ca",
    )
    client_cert: str | None = option(
        Choice(("none", "optional", "required"), "MODE"),
        "Whether to ask clients for a certificate: none, optional (verified if sent) "
        "or required.",
        default=None,
        default_text="none",
        of="client_cert",
    )
    tls_min: str | None = option(
        Choice(("1.2", "1.3"), "VERSION"),
        # RFC 8996 forbids what is older.
        "The lowest TLS version that is accepted: 1.2 or 1.3.",
        default=None,
        default_text="1.2",
        of="tls_min",
    )
    ciphers: str | None = option(
        Text("LIST"),
        # Those of TLS 1.3 are another list of OpenSSL's, which Python's ``ssl`` does
        # not set.
        "The ciphers for TLS 1.2, as OpenSSL writes them.",
        default=None,
        default_text="Python's",
        of="ciphers",
    )
    tls_handshake_timeout_s: float | None = option(
        Seconds(0.1),
        # Before it is over there is no request, so that --head-timeout does not count
        # yet.
        "How long the handshake may take after the accept.",
        default=None,
        default_text="10",
        of="handshake_timeout_s",
    )
    tls_shutdown_timeout_s: float | None = option(
        Seconds(0.1),
        # Without ours a client cannot tell the end from a cut (RFC 8446, section 6.1);
        # without theirs nothing is lost, and few clients send one.
        "How long to wait for the client's close_notify after sending our own.",
        default=None,
        default_text="2",
        of="shutdown_timeout_s",
    )

    @cached_property
    def tls(self) -> dict[str, Any] | None:
        """The fields of ``TlsSettings`` that were given; None: the App's own are used.

        Raises:
            SettingError: A value cannot be, or has no effect. The files are read later.
        """
        given = {
            each.of: value for each in _OPTIONS if (value := getattr(self, each.field))
        }
        if not given:
            return None
        from blazeio.server.tls import TlsSettings

        if not self.certfile:
            raise SettingError(
                _BY_OF[next(iter(given))].field, "has no effect without --certfile"
            )
        try:
            TlsSettings(**given)
        except ConfigurationError as error:
            raise _name_options(str(error)) from None
        return given

    def check(self) -> None:
        """Check that the options go together."""
        _ = self.tls


_OPTIONS = tuple(list_options(Tls))
_BY_OF = {option.of: option for option in _OPTIONS}
_SETTING_NAMES = re.compile(rf"(?<![\w./-])({'|'.join(_BY_OF)})(?![\w./-])")
_LINE = re.compile(r"TLS (\w+) (.*?): (.*)", re.DOTALL)


def _name_options(line: str) -> SettingError:
    """Name the options where the library names its settings."""
    match = _LINE.fullmatch(line)
    assert match is not None  # so says ``key_files.mistake``
    reason = _SETTING_NAMES.sub(lambda word: _BY_OF[word[0]].flag, match[3])
    return SettingError(_BY_OF[match[1]].field, reason)


# How an app of another interface is served: ASGI, WSGI.


# Each thread reserves room for its stack, 8 MiB as a rule (pthread_create(3)), and
# counts against pids.max of the control group and RLIMIT_NPROC.
THREAD_LIMIT = 1000


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Gateways(Section):
    """How an ASGI or WSGI app is served, also one that an App has mounted."""

    title = "ASGI and WSGI apps"

    interface: InterfaceName = option(
        Choice(get_args(InterfaceName), "NAME"),
        "What APP is: blazeio (an App), asgi (ASGI 3) or wsgi. auto decides by the "
        "arguments that APP takes.",
        default="auto",
    )
    lifespan: LifespanName = option(
        Choice(get_args(LifespanName), "MODE"),
        "Whether to run the lifespan of an ASGI app. auto: run it, and serve the app "
        "even if it raises; on: an exception ends the start; off: do not run it.",
        default="auto",
    )
    threads: int = option(
        Count(1, THREAD_LIMIT),
        # As many as waitress has. They share one GIL: more help only an app that waits.
        "Requests of a WSGI app that a worker runs concurrently, each in a thread; "
        "more wait in order.",
        default=4,
    )
    asgi_pathsend: bool = option(
        Flag(),
        "Announce http.response.pathsend to an ASGI app. Frameworks then send files by "
        "it past their own middlewares: uncompressed, where one would compress them.",
        default=False,
    )
    asgi_deflate: bool = option(
        Flag(),
        "Do not compress the messages of an ASGI app's WebSockets; else "
        "permessage-deflate is agreed to with clients that offer it, which takes about "
        "64 KiB of memory for each.",
        default=True,
    )
    ws_message_bytes: int = option(
        Size(),
        # uvicorn's default, here and for the next two; 1009 is of RFC 6455, section
        # 7.4.1.
        "Largest message of a WebSocket of an ASGI app; larger: closed with 1009.",
        default=16 * 1024 * 1024,
        key="ws_max_size",
    )
    ws_ping_interval_s: float | None = option(
        Seconds(words={"none": None}),
        # Also for the proxies in between: nginx closes what says nothing for 60 s
        # (proxy_read_timeout), and a NAT forgets it.
        "Ping the client of a WebSocket of an ASGI app after this long a silence.",
        default=20.0,
    )
    ws_ping_timeout_s: float = option(
        Seconds(),
        "Disconnect a client that is silent for this long after a ping.",
        default=20.0,
    )

    @property
    def gateway(self) -> GatewayConfig:
        """The settings of this section, for the processes of the app."""
        return GatewayConfig(
            interface=self.interface,
            lifespan=self.lifespan,
            threads=self.threads,
            sends_paths=self.asgi_pathsend,
            compresses_websockets=self.asgi_deflate,
            ws_message_bytes=self.ws_message_bytes,
            ws_ping_every_s=self.ws_ping_interval_s,
            ws_ping_timeout_s=self.ws_ping_timeout_s,
        )
