"""The bounds of each worker: one option for each field of ``Limits``."""

from dataclasses import dataclass, fields
from typing import Any

from msgspec import UNSET, UnsetType

from blazeio.limits import LEAST, Limits
from blazeio_supervisor.options.kinds.numbers import NONE, Count, Number, Seconds, Size
from blazeio_supervisor.options.option import Section, list_options, option

_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Limits)}

Bound = float | None | UnsetType
"""UNSET: as the App says; None: no bound."""


def choose_kind(of: str) -> Number:
    """Choose how a field of ``Limits`` is written, by its unit."""
    least = LEAST.get(of, 0)
    words = NONE if _DEFAULTS[of] is None else {}
    if of.endswith("_bytes"):
        return Size(least, words=words)
    if of.endswith("_per_s"):
        return Number(least, words=words)
    if of.endswith("_s"):
        return Seconds(least, words=words)
    return Count(least, words=words)


def format_default(of: str) -> str:
    """Write the default of a field of ``Limits`` as it is typed."""
    return choose_kind(of).write_text(_DEFAULTS[of])


def bound(of: str, text: str) -> Any:
    """Declare the option of a field of ``Limits``.

    Args:
        of: The field.
        text: What is bounded, and what happens then.
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
        "Requests that a worker serves at once; more are answered 503 with "
        "Retry-After.",
    )
    max_connections: Bound = bound(
        "connections",
        "Open connections of a worker; at it, accepting rests and idle ones are "
        "closed. none: what the limit of descriptors leaves.",
    )
    handler_timeout_s: Bound = bound(
        "handler_timeout_s",
        "A handler that takes longer is cancelled, and 503 is answered.",
    )
    head_timeout_s: Bound = bound(
        "head_timeout_s",
        "From the first octet of a request to its whole head; then 408.",
    )
    keep_alive_timeout_s: Bound = bound(
        "keep_alive_timeout_s", "How long an idle connection is kept."
    )
    progress_bytes_per_s: Bound = bound(
        "progress_bytes_per_s",
        "A client that sends or reads slower than this, over --progress-window, is "
        "cut off.",
    )
    progress_window_s: Bound = bound("progress_window_s", "See --progress-bytes-per-s.")
    half_close_grace_s: Bound = bound(
        "half_close_grace_s",
        "A client that has sent its last octet, and gets no answer by then, is taken "
        "to be gone: its handler is cancelled.",
    )
    linger_timeout_s: Bound = bound(
        "linger_timeout_s",
        "After an answer that comes before all content was read, the rest is read "
        "and dropped for so long, that the client sees the answer.",
    )
    max_linger_bytes: Bound = bound("linger_bytes", "Likewise, for so many octets.")
    max_content_bytes: Bound = bound(
        "content_bytes", "Content of one request, streamed or not; more: 413."
    )
    max_collected_bytes: Bound = bound(
        "collected_bytes",
        "Content of one request that is collected in memory (JSON, forms, read); "
        "more: 413.",
    )
    max_form_fields: Bound = bound(
        "form_field_count",
        "Fields of a form or query string; more: 413, or 400 for a query string.",
    )
    max_form_files: Bound = bound("form_file_count", "Files of a form; more: 413.")
    max_form_field_bytes: Bound = bound(
        "form_field_bytes",
        "One field of a multipart form that is no file; larger: 413.",
    )
    max_part_field_count: Bound = bound(
        "part_field_count",
        "Lines before each field or file of a multipart form; more: 413.",
    )
    max_part_field_bytes: Bound = bound(
        "part_field_bytes",
        "One of those lines, with the file's name; longer: 413.",
    )
    max_target_bytes: Bound = bound("target_bytes", "A request target; longer: 414.")
    max_head_bytes: Bound = bound("head_bytes", "A whole head; larger: 431.")
    max_field_bytes: Bound = bound("field_bytes", "One line of a head; longer: 431.")
    max_field_count: Bound = bound("field_count", "Lines in a head; more: 431.")
    max_chunk_extension_bytes: Bound = bound(
        "chunk_extension_bytes", "Chunk extensions of one request; more: 400."
    )
    max_trailer_bytes: Bound = bound("trailer_bytes", "A trailer section; larger: 431.")
    pipeline_bytes: Bound = bound(
        "pipeline_bytes",
        "Kept of requests that wait behind the one being served; then reading rests.",
    )
    receive_bytes: Bound = bound(
        "receive_bytes",
        "Content kept for a handler that does not read it; then reading rests.",
    )
    high_water_bytes: Bound = bound(
        "high_water_bytes",
        "Kept of an answer that its client does not read; then the handler waits.",
    )

    max_streams: Bound = bound(
        "streams",
        "Requests at once on a connection of HTTP/2; more: REFUSED_STREAM.",
    )
    max_stream_resets: Bound = bound(
        "stream_resets",
        "Streams in a row that a client resets, or makes the server reset; more: the "
        "connection ends (ENHANCE_YOUR_CALM).",
    )
    stream_resets_per_s: Bound = bound(
        "stream_resets_per_s", "What a second earns back of --max-stream-resets."
    )
    max_control_frames: Bound = bound(
        "control_frames",
        "Frames in a row that carry nothing, as PING; more: the connection ends "
        "(ENHANCE_YOUR_CALM).",
    )
    control_frames_per_s: Bound = bound(
        "control_frames_per_s", "What a second earns back of --max-control-frames."
    )
    max_continuations: Bound = bound(
        "continuations",
        "CONTINUATION frames of a header block; more: the connection ends.",
    )
    header_table_bytes: Bound = bound(
        "header_table_bytes", "The dynamic table of a client's header compression."
    )
    connection_receive_bytes: Bound = bound(
        "connection_receive_bytes",
        "What a client of HTTP/2 may send at once on all streams of a connection.",
    )

    @property
    def bounds(self) -> dict[str, Any]:
        """The fields of ``Limits`` that were given."""
        return {
            each.of: value
            for each in list_options(WorkerLimits)
            if (value := getattr(self, each.field)) is not UNSET
        }
