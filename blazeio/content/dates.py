"""HTTP dates: seconds since the epoch to IMF-fixdate and back; and Retry-After.

Only the preferred form of RFC 9110 section 5.6.7 is written; all three forms are read,
as the RFC demands of a recipient.
"""

import re
from datetime import UTC, datetime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

# strftime and strptime depend on the process's locale; HTTP's names are English.
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = (
    re.compile(  # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        r"[A-Z][a-z]{2}, (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) "
        rf"(?P<year>[0-9]{{4}}) {_CLOCK} GMT"
    ),
    re.compile(  # rfc850-date: Sunday, 06-Nov-94 08:49:37 GMT
        r"[A-Z][a-z]{5,8}, (?P<day>[0-9]{2})-(?P<month>[A-Z][a-z]{2})-"
        rf"(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
    ),
    re.compile(  # asctime-date: Sun Nov  6 08:49:37 1994
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[0-9 ][0-9]) {_CLOCK} "
        r"(?P<year>[0-9]{4})"
    ),
)


def serialize_http_date(seconds: float) -> str:
    """Serialize seconds since the epoch as IMF-fixdate, RFC 9110 section 5.6.7.

    Args:
        seconds: Unix time; fractions are cut off.

    Raises:
        ValueError: The caller's fault: outside the years 1 to 9999.
    """
    try:
        # Cut off and never rounded: Last-Modified must not be later than the change, or
        # the state of the next second would be taken for this one.
        moment = datetime.fromtimestamp(seconds // 1, UTC)
    except (OverflowError, OSError, ValueError) as exception:
        message = f"{seconds!r} is not a time that HTTP can write"
        raise ValueError(message) from exception
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04} {moment:%H:%M:%S} GMT"
    )


def parse_http_date(text: str, now: float) -> int | None:
    """Read an HTTP date in any of the three forms of RFC 9110 section 5.6.7.

    Args:
        text: The field value.
        now: Unix time. The two digits of an obsolete year mean a year that is never
            more than 50 years ahead.

    Returns:
        Seconds since the epoch, or None for what is no date: then a recipient ignores
            the field.
    """
    match = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if match is None or match["month"] not in _MONTHS:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _decide_century(year, datetime.fromtimestamp(now, UTC).year)
    second = min(int(match["second"]), 59)  # the grammar allows a leap second
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp())


_SECONDS = re.compile(r"[0-9]{1,9}")


def parse_retry_after(text: str, now: float) -> float | None:
    """Read Retry-After, RFC 9110 section 10.2.3: seconds, or a date.

    Args:
        text: The field value.
        now: Unix time.

    Returns:
        Seconds from now, 0 or more; None for what is neither. The caller needs a bound
        of its own: this may be 31 years.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    at = parse_http_date(text, now)
    return None if at is None else max(at - now, 0.0)


def _decide_century(year: int, this_year: int) -> int:
    year += this_year // 100 * 100
    return year - 100 if year > this_year + 50 else year
