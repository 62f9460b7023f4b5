"""Whether a conditional request is performed: RFC 9110 section 13.

May import: blazeio.content.dates, blazeio.content.selection.validators.
"""

from collections.abc import Callable, Mapping
from enum import IntEnum

from blazeio.content.dates import parse_http_date
from blazeio.content.selection.validators import (
    Validators,
    is_etag,
    is_strongly_equal,
    is_weakly_equal,
    parse_etags,
)


class Verdict(IntEnum):
    """What follows from the preconditions; but for PERFORM, a status code."""

    PERFORM = 0
    NOT_MODIFIED = 304
    PRECONDITION_FAILED = 412


def evaluate(
    method: str, fields: Mapping[str, str], current: Validators, now_s: float
) -> Verdict:
    """Evaluate the preconditions of a request in their order of precedence.

    RFC 9110 section 13.2.2. A date that is none is as if it had not been sent.

    Args:
        method: Of the request.
        fields: Its combined values, by lower-case name.
        current: Of what would be sent.
        now_s: Unix time.
    """
    if not _holds_for_change(fields, current, now_s):
        return Verdict.PRECONDITION_FAILED
    is_read = method in ("GET", "HEAD")
    value = fields.get("if-none-match")
    if value is not None:
        if not _lists(value, current.etag, is_weakly_equal):
            return Verdict.PERFORM
        return Verdict.NOT_MODIFIED if is_read else Verdict.PRECONDITION_FAILED
    since_s = _read_date(fields, "if-modified-since", now_s) if is_read else None
    if since_s is not None and current.modified_s <= since_s:
        return Verdict.NOT_MODIFIED
    return Verdict.PERFORM


def _holds_for_change(
    fields: Mapping[str, str], current: Validators, now_s: float
) -> bool:
    """If-Match, or where it is absent If-Unmodified-Since."""
    value = fields.get("if-match")
    if value is not None:
        return _lists(value, current.etag, is_strongly_equal)
    since_s = _read_date(fields, "if-unmodified-since", now_s)
    return since_s is None or current.modified_s <= since_s


def holds_for_range(value: str, current: Validators, now_s: float) -> bool:
    """Evaluate If-Range; false: the whole is sent. RFC 9110 section 13.1.5.

    Args:
        value: Of the field.
        current: Of what would be sent.
        now_s: Unix time. A date does not tell what changed within one second
            (section 8.8.2.2), so one of this second is no strong validator.
    """
    if is_etag(value):
        return is_strongly_equal(value, current.etag)
    since_s = parse_http_date(value, now_s)
    return since_s == current.modified_s and current.modified_s + 1 <= now_s


def _lists(value: str, etag: str, is_equal: Callable[[str, str], bool]) -> bool:
    if value.strip(" \t") == "*":
        return True  # there is one
    return any(is_equal(each, etag) for each in parse_etags(value))


def _read_date(fields: Mapping[str, str], name: str, now_s: float) -> int | None:
    value = fields.get(name)
    return None if value is None else parse_http_date(value, now_s)
