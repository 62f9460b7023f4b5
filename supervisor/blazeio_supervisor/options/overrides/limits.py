"""The bounds of each worker: one line in the table for each option."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any

import click

from blazeio.limits import LEAST, Limits
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.options.size import format_size, parse_size

NO_BOUND = "none"
_MOST_S = 86_400.0
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Limits)}


@dataclass(frozen=True, slots=True)
class Bound:
    """One option that is a field of ``Limits``.

    Attributes:
        field: Of ``Limits``.
        option: On the command line.
        help: What is bounded, and what happens then.
    """

    field: str
    option: str
    help: str

    @property
    def key(self) -> str:
        """What click calls it."""
        return self.option.removeprefix("--").replace("-", "_")

    @property
    def default(self) -> str:
        """As it is typed."""
        return format_bound(self.field, _DEFAULTS[self.field])

    @property
    def is_size(self) -> bool:
        """Whether it takes K, M and G."""
        return self.field.endswith("_bytes")

    @property
    def is_span(self) -> bool:
        """Whether it takes seconds, or a share of them."""
        return self.field.endswith("_s")

    @property
    def metavar(self) -> str:
        """Stands for its value in ``--help``."""
        if self.is_size:
            return "SIZE"
        return "S" if self.is_span and not self.field.endswith("_per_s") else "N"

    def make_option(self) -> click.Option:
        """Declare it."""
        text = f"{self.help}  [default: {self.default}]"
        return click.Option([self.option], metavar=self.metavar, help=text)


def format_bound(field: str, value: float | int | None) -> str:
    """Write a bound as the command line takes it: ``64K``, ``10``, ``none``."""
    if value is None:
        return NO_BOUND
    return format_size(int(value)) if field.endswith("_bytes") else f"{value:g}"


BOUNDS = (
    Bound(
        "in_flight",
        "--max-in-flight",
        "Requests that a worker serves at once; more are answered 503 with "
        "Retry-After.",
    ),
    Bound(
        "connections",
        "--max-connections",
        "Open connections of a worker; at it, accepting rests and idle ones are "
        "closed. none: what the limit of descriptors leaves.",
    ),
    Bound(
        "handler_timeout_s",
        "--handler-timeout",
        "A handler that takes longer is cancelled, and 503 is answered.",
    ),
    Bound(
        "head_timeout_s",
        "--head-timeout",
        "From the first octet of a request to its whole head; then 408.",
    ),
    Bound(
        "keep_alive_timeout_s",
        "--keep-alive-timeout",
        "How long an idle connection is kept.",
    ),
    Bound(
        "progress_bytes_per_s",
        "--progress-bytes-per-s",
        "A client that sends or reads slower than this, over --progress-window, is "
        "cut off.",
    ),
    Bound(
        "progress_window_s",
        "--progress-window",
        "See --progress-bytes-per-s.",
    ),
    Bound(
        "content_bytes",
        "--max-content-bytes",
        "Content of one request, streamed or not; more: 413.",
    ),
    Bound(
        "collected_bytes",
        "--max-collected-bytes",
        "Content of one request that is collected in memory (JSON, forms, read); "
        "more: 413.",
    ),
    Bound(
        "form_field_count",
        "--max-form-fields",
        "Fields of a form or query string; more: 413, or 400 for a query string.",
    ),
    Bound("form_file_count", "--max-form-files", "Files of a form; more: 413."),
    Bound(
        "form_field_bytes",
        "--max-form-field-bytes",
        "One field of a multipart form that is no file; larger: 413.",
    ),
    Bound(
        "part_field_count",
        "--max-part-field-count",
        "Lines before each field or file of a multipart form; more: 413.",
    ),
    Bound(
        "part_field_bytes",
        "--max-part-field-bytes",
        "One of those lines, with the file's name; longer: 413.",
    ),
    Bound("target_bytes", "--max-target-bytes", "A request target; longer: 414."),
    Bound("head_bytes", "--max-head-bytes", "A whole head; larger: 431."),
    Bound("field_bytes", "--max-field-bytes", "One line of a head; longer: 431."),
    Bound("field_count", "--max-field-count", "Lines in a head; more: 431."),
    Bound(
        "chunk_extension_bytes",
        "--max-chunk-extension-bytes",
        "Chunk extensions of one request; more: 400.",
    ),
    Bound(
        "trailer_bytes",
        "--max-trailer-bytes",
        "A trailer section; larger: 431.",
    ),
)

LIMITS = Section(
    "Limits of each worker (default: the App's own, else as listed; SIZE: octets, or "
    "with K, M, G)",
    tuple(bound.make_option() for bound in BOUNDS),
)


def read_bounds(given: Mapping[str, Any]) -> dict[str, Any]:
    """Read those that were given; gives the fields of ``Limits``.

    Raises:
        UsageError: One cannot be.
    """
    return {
        bound.field: _read_bound(bound, given[bound.key])
        for bound in BOUNDS
        if given[bound.key] is not None
    }


def _read_bound(bound: Bound, text: str) -> float | int | None:
    if text == NO_BOUND and _DEFAULTS[bound.field] is None:
        return None
    try:
        value = _read_number(bound, text)
    except ValueError:
        value = -1
    least = LEAST.get(bound.field, 0)
    most = _MOST_S if bound.metavar == "S" else float("inf")
    if not least <= value <= most:
        raise UsageError(f"{bound.option} {text}: expected {_describe(bound, least)}")
    return value


def _read_number(bound: Bound, text: str) -> float | int:
    if bound.is_span:
        value = float(text)
        return value if isfinite(value) else -1
    return parse_size(text) if bound.is_size else int(text)


def _describe(bound: Bound, least: float) -> str:
    kinds = {"SIZE": "a size such as 64K or 16M", "N": "a number"}
    kind = kinds.get(bound.metavar, f"seconds, at most {_MOST_S:g}")
    lifted = ", or none" if _DEFAULTS[bound.field] is None else ""
    return f"{kind}, at least {least:g}{lifted}"
