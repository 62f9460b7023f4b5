"""``Limits``: every bound of the request path, with its unit."""

from dataclasses import dataclass, fields
from typing import TypedDict

from blazeio.errors import ConfigurationError

KIB = 1024
MIB = 1024 * KIB

READ_PAST_BYTES = 1 * MIB
"""How much content that no handler wants is read and dropped, so that the connection
can be used again; with more, it is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one server. ``App(**limits)`` takes each by name.

    Sizes are octets, inclusive; spans are seconds.

    Attributes:
        target_bytes: Longest request target; longer: 414, close. RFC 9112 section 3
            recommends at least 8,000 for the whole request line.
        head_bytes: Largest head; larger: 431, close.
        field_count: Most field lines in a head; more: 431, close.
        field_bytes: Longest field line; longer: 431, close.
        content_bytes: Most content of a request; more: 413, close. None: no bound,
            since a handler streams it. A route may have its own:
            ``add_route(..., content_bytes=)``.
        collected_bytes: Most content collected in memory (``get_json``,
            ``body_or_params``, ``r.read``), or by the fields of a form; more: 413,
            close.
        form_field_count: Most fields in a form (more: 413) or a query string
            (more: 400). 1,000 is the limit of PHP and Django, against
            dictionaries that are made to be slow.
        form_file_count: Most files in a form; more: 413, close.
        form_field_bytes: Largest field of a multipart form that is no file, or its
            preamble; larger: 413, close. Files are bounded by ``content_bytes``.
        part_field_count: Most field lines before a field or file of a multipart
            form; more: 413, close. RFC 7578 knows three.
        part_field_bytes: Longest such line, with the file's name; longer: 413,
            close.
        chunk_extension_bytes: Most octets of chunk extensions in one message; more:
            400, close.
        trailer_bytes: Largest trailer section; larger: 431, close.
        pipeline_bytes: Octets kept of requests that wait behind the one being
            served; then reading pauses until that one is answered.
        receive_bytes: Content kept for a handler that does not pull; then
            reading pauses until it does.
        high_water_bytes: Octets the transport holds before writers sleep until the
            client reads.
        connections: Most open connections. At it, accepting pauses, one line is
            logged, and idle connections are closed; where there are none, those
            that have sent no whole head (or not ended their TLS handshake) for 1 s,
            the oldest first. None: what the limit of descriptors leaves.
        in_flight: Most requests served at once; more: 503 with Retry-After.
            None: no bound.
        head_timeout_s: From the first octet, or the accept, to the whole head;
            later: 408, close.
        keep_alive_timeout_s: How long an idle connection is kept; then it is closed.
        progress_bytes_per_s: While content is due, or the rest of a WebSocket's frame,
            and while our octets wait to be read, at least this many must move per
            second: 408 (a close with 1008) to who sends more slowly, a reset to who
            reads more slowly.
        progress_window_s: ``progress_bytes_per_s`` is judged over each such window.
        handler_timeout_s: How long a handler may take; then it is cancelled,
            with everything it awaits, and 503 is answered if nothing was. None: no
            bound. A route may have its own: ``add_route(..., handler_timeout_s=)``.
        half_close_grace_s: A client that has sent its FIN, and for which no answer
            has begun by then, is gone: the handler is cancelled.
        linger_timeout_s: How long is read on after an early close, so that the
            peer sees the answer (RFC 9112 section 9.6); then the connection is gone.
        linger_bytes: How much is read on then. Who sends a file while we refuse it
            mostly looks for an answer when all of it was sent; a reset before that
            destroys the answer. Up to 1 MiB, or this where it is less, is read past
            to keep the connection.
        streams: Most requests at once on a connection of HTTP/2, until their
            handlers are over; more: RST_STREAM (REFUSED_STREAM).
        stream_resets: How many streams in a row its client may reset, or make us
            reset; more: GOAWAY (ENHANCE_YOUR_CALM). Each answered request earns one
            back.
        stream_resets_per_s: How many of ``stream_resets`` a second earns back.
        control_frames: How many frames in a row may carry nothing: PING, SETTINGS,
            PRIORITY, empty DATA, WINDOW_UPDATE below 1 KiB, unknown frames, and
            those for streams that are over; more: GOAWAY (ENHANCE_YOUR_CALM). Each
            request earns one back, a DATA frame in either direction two; of content
            that waited for its client each KiB does.
        control_frames_per_s: How many of ``control_frames`` a second earns back.
        continuations: Most CONTINUATION frames of a header block, which has at most
            four times ``head_bytes``; more: GOAWAY (ENHANCE_YOUR_CALM).
        header_table_bytes: Largest dynamic table of HPACK; the client keeps to it.
        connection_receive_bytes: What its client may send at once on all streams
            together, on one of them ``receive_bytes``; more: GOAWAY
            (FLOW_CONTROL_ERROR).

    Raises:
        ConfigurationError: A bound is negative, or zero where that cannot be.
    """

    target_bytes: int = 16 * KIB
    head_bytes: int = 64 * KIB
    field_count: int = 100
    field_bytes: int = 32 * KIB
    content_bytes: int | None = None
    collected_bytes: int = 16 * MIB
    form_field_count: int = 1000
    form_file_count: int = 100
    form_field_bytes: int = 1 * MIB
    part_field_count: int = 8
    part_field_bytes: int = 8 * KIB
    chunk_extension_bytes: int = 4 * KIB
    trailer_bytes: int = 16 * KIB
    pipeline_bytes: int = 64 * KIB
    receive_bytes: int = 256 * KIB
    high_water_bytes: int = 64 * KIB
    connections: int | None = None
    in_flight: int | None = None
    head_timeout_s: float = 10.0
    keep_alive_timeout_s: float = 15.0
    progress_bytes_per_s: float = 240.0
    progress_window_s: float = 10.0
    handler_timeout_s: float | None = None
    half_close_grace_s: float = 1.0
    linger_timeout_s: float = 2.0
    linger_bytes: int = 64 * MIB
    streams: int = 100
    stream_resets: int = 200
    stream_resets_per_s: float = 20.0
    control_frames: int = 1000
    control_frames_per_s: float = 50.0
    continuations: int = 16
    header_table_bytes: int = 4 * KIB
    connection_receive_bytes: int = 1 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.default is None:
                continue
            least = LEAST.get(field.name, 0)
            if not isinstance(value, int | float) or not value >= least:
                message = f"limit {field.name}={value!r}: expected a number >= {least}"
                raise ConfigurationError(message)


LEAST = {
    "target_bytes": 1,
    "head_bytes": 1,
    "field_count": 1,
    "field_bytes": 1,
    "part_field_count": 1,
    "part_field_bytes": 1,
    "receive_bytes": 1,
    "high_water_bytes": 1,
    "connections": 1,
    "in_flight": 1,
    "progress_window_s": 0.01,
    "streams": 1,
    "connection_receive_bytes": 64 * KIB,
}
"""With less, nothing could ever be served, read or written; the others may be 0."""


class LimitOptions(TypedDict, total=False):
    """``Limits`` by name, for type checkers and editors."""

    target_bytes: int
    head_bytes: int
    field_count: int
    field_bytes: int
    content_bytes: int | None
    collected_bytes: int
    form_field_count: int
    form_file_count: int
    form_field_bytes: int
    part_field_count: int
    part_field_bytes: int
    chunk_extension_bytes: int
    trailer_bytes: int
    pipeline_bytes: int
    receive_bytes: int
    high_water_bytes: int
    connections: int | None
    in_flight: int | None
    head_timeout_s: float
    keep_alive_timeout_s: float
    progress_bytes_per_s: float
    progress_window_s: float
    handler_timeout_s: float | None
    half_close_grace_s: float
    linger_timeout_s: float
    linger_bytes: int
    streams: int
    stream_resets: int
    stream_resets_per_s: float
    control_frames: int
    control_frames_per_s: float
    continuations: int
    header_table_bytes: int
    connection_receive_bytes: int
