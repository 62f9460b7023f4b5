"""A Set-Cookie field as a user agent reads it: RFC 6265bis section 5.6.

Lenient where the RFC says so, attribute by attribute: of what a browser would
understand nothing is lost, and of what it would drop nothing is kept.

May import: blazeio.content.cookies. Pure.
"""

import re
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from blazeio.content.cookies import LONGEST_PAIR_BYTES

LONGEST_ATTRIBUTE_BYTES: Final = 1024
"""A longer value of an attribute is as if it were not there."""
MOST_AGE_S: Final = 400 * 24 * 3600
"""Section 5.5: no cookie lives longer without being set again."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE: Final = re.compile(r"-?[0-9]+")

# Section 5.1.1: dates have been written in too many ways for one form of them.
_DELIMITERS: Final = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY: Final = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR: Final = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS: Final = "janfebmaraprmayjunjulaugsepoctnovdec"


class SetCookie(Struct, frozen=True):
    """What one field says; the attributes as they were understood.

    Attributes:
        name: May be "", as browsers have it.
        value: As sent, quotes and all.
        domain: Lower case, without a leading dot; "" for the host only.
        path: Begins with "/"; "" for the default.
        max_age_s: Seconds to live, 0 or less: delete. Wins over ``expires_at``.
        expires_at: Unix time.
        is_secure: For TLS only.
        is_http_only: Not for scripts.
        same_site: Lower case, as sent; a client that shows no pages has no use
            for it.
    """

    name: str
    value: str
    domain: str = ""
    path: str = ""
    max_age_s: int | None = None
    expires_at: float | None = None
    is_secure: bool = False
    is_http_only: bool = False
    same_site: str = ""

    def expiry(self, now: float) -> float | None:
        """When it is over, in Unix time; None: with the session.

        Args:
            now: Unix time.
        """
        latest = now + MOST_AGE_S
        if self.max_age_s is not None:
            return min(now + self.max_age_s, latest) if self.max_age_s > 0 else 0.0
        return None if self.expires_at is None else min(self.expires_at, latest)


def parse_set_cookie(field: str) -> SetCookie | None:
    """Read the value of one Set-Cookie field.

    Returns:
        None where a user agent ignores it: controls, neither name nor value, or
        more than ``LONGEST_PAIR_BYTES``.
    """
    if _CONTROLS.search(field):
        return None
    pair, _, rest = field.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if not 0 < len(name) + len(value) <= LONGEST_PAIR_BYTES:
        return None
    attributes = _parse_attributes(rest)
    max_age = attributes.get("max-age", "")
    path = attributes.get("path", "")
    return SetCookie(
        name,
        value,
        _read_domain(attributes.get("domain", "")),
        path if path.startswith("/") else "",
        # Nine digits are 31 years already, and no integer is too large.
        int(max_age[:10]) if _MAX_AGE.fullmatch(max_age) else None,
        parse_cookie_date(attributes.get("expires", "")),
        "secure" in attributes,
        "httponly" in attributes,
        attributes.get("samesite", "").lower(),
    )


def _read_domain(text: str) -> str:
    """Without its leading dot; what is not ASCII is UTF-8, if it is anything."""
    try:
        text = text.encode("latin-1").decode()
    except UnicodeError:
        pass  # no host will be read of it
    return text.removeprefix(".").lower()


def _parse_attributes(text: str) -> dict[str, str]:
    """The last of each name counts, if its value is one that counts at all."""
    attributes: dict[str, str] = {}
    for each in text.split(";"):
        name, _, value = each.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        if len(value) > LONGEST_ATTRIBUTE_BYTES:
            continue
        if name == "max-age" and not _MAX_AGE.fullmatch(value):
            continue
        if name == "expires" and parse_cookie_date(value) is None:
            continue
        attributes[name] = value
    return attributes


def parse_cookie_date(text: str) -> float | None:
    """Read a date, by the algorithm of RFC 6265bis section 5.1.1.

    Returns:
        Unix time; None where it is no date.
    """
    clock: tuple[int, ...] | None = None
    day = month = year = None
    for token in _DELIMITERS.split(text):
        if clock is None and (match := _TIME.match(token)):
            clock = tuple(map(int, match.groups()))
        elif day is None and (match := _DAY.match(token)):
            day = int(match[1])
        elif month is None and _month_of(token):
            month = _month_of(token)
        elif year is None and (match := _YEAR.match(token)):
            year = int(match[1])
    if clock is None or day is None or month is None or year is None:
        return None
    if year < 100:
        year += 1900 if year >= 70 else 2000
    if year < 1601:
        return None
    try:
        hour, minute, second = clock
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def _month_of(token: str) -> int:
    """1 to 12 by the first three letters; 0 where they are none."""
    place = _MONTHS.find(token[:3].lower())
    return place // 3 + 1 if len(token) >= 3 and place % 3 == 0 else 0
