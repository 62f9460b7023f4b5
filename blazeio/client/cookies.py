"""Cookies that servers have set, and to whom they are sent back: RFC 6265bis.

What a user agent without pages can implement: domain and host-only cookies, paths,
expiry, ``Secure`` (and that a cookie set in the clear does not replace a Secure one),
``HttpOnly``, the prefixes ``__Secure-`` and ``__Host-``. SameSite is kept and has no
effect, since no site causes a request here.

**Public suffixes.** A server of ``a.example.com`` may set a cookie for all of
``example.com``, but a server of ``shop.co.uk`` must not set one for all of ``co.uk``.
Only the Public Suffix List tells the two apart, and it changes every week, so none is
built in. Without one, names of a single label (``com``, ``localhost``), the usual
second levels of countries (``co.uk``, ``com.au``) and addresses are taken for suffixes;
a cookie for one of them stays with the host that set it. A program that sends requests
to hosts which may want to harm each other passes a list:
``CookieJar(publicsuffixlist.PublicSuffixList().is_public)``.

**Hosts** are compared in the form of ``proxy.read_host``, without a final dot:
``www.example.com.`` is ``www.example.com``, and ``com.`` is a suffix as ``com`` is. A
``Domain`` with a final dot counts only where the host has one, too; browsers and curl
ignore it.

``parse_set_cookie`` is lenient where RFC 6265bis section 5.6 says so: it keeps what a
browser would keep, and ignores what a browser would ignore.

Pure: the time is an argument.
"""

import heapq
import re
from collections.abc import Callable, Container, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from blazeio.client.url import read_host, strip_final_dot
from blazeio.content.field_values import LONGEST_PAIR_BYTES
from blazeio.content.forwarded import read_address

# Reading Set-Cookie: RFC 6265bis section 5.6


LONGEST_ATTRIBUTE_BYTES: Final = 1024
"""An attribute with a longer value is ignored."""
MOST_AGE_S: Final = 400 * 24 * 3600
"""Section 5.5: a cookie lives no longer than this unless it is set again."""

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_AGE: Final = re.compile(r"-?[0-9]+")

# Section 5.1.1: dates are written in too many forms to have one grammar.
_DELIMITERS: Final = re.compile(r"[\x09\x20-\x2f\x3b-\x40\x5b-\x60\x7b-\x7e]+")
_TIME: Final = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])")
_DAY: Final = re.compile(r"([0-9]{1,2})(?![0-9])")
_YEAR: Final = re.compile(r"([0-9]{2,4})(?![0-9])")
_MONTHS: Final = "janfebmaraprmayjunjulaugsepoctnovdec"


class SetCookie(Struct, frozen=True):
    """One Set-Cookie field, with its attributes as they were understood.

    Attributes:
        name: May be "", as in browsers.
        value: As sent, with its quotes.
        domain: Lower case, without a leading dot; "" for the host only.
        path: Begins with "/"; "" for the default.
        max_age_s: Seconds to live, 0 or less: delete. Wins over ``expires_at``.
        expires_at: Unix time.
        is_secure: For TLS only.
        is_http_only: Not for scripts.
        same_site: Lower case, as sent; has no effect here.
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
        """Return when it expires, Unix time; None: with the session.

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
        None where a user agent ignores it: it has controls, neither name nor value, or
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
        _read_domain_attribute(attributes.get("domain", "")),
        path if path.startswith("/") else "",
        # Nine digits are 31 years already; the integer is never too large.
        int(max_age[:10]) if _MAX_AGE.fullmatch(max_age) else None,
        parse_cookie_date(attributes.get("expires", "")),
        "secure" in attributes,
        "httponly" in attributes,
        attributes.get("samesite", "").lower(),
    )


def list_cookies(fields: Iterable[str], now: float) -> dict[str, str]:
    """Return the cookies that a response sets, by name, without those it deletes.

    Args:
        fields: Its Set-Cookie fields.
        now: Unix time.
    """
    found: dict[str, str] = {}
    for field in fields:
        cookie = parse_set_cookie(field)
        if cookie is None:
            continue
        expiry = cookie.expiry(now)
        if expiry is None or expiry > now:
            found[cookie.name] = cookie.value
        else:
            found.pop(cookie.name, None)
    return found


def _read_domain_attribute(text: str) -> str:
    """Return a domain without its leading dot; what is not ASCII is read as UTF-8."""
    try:
        text = text.encode("latin-1").decode()
    except UnicodeError:
        pass  # ``read_host`` will refuse it
    return text.removeprefix(".").lower()


def _parse_attributes(text: str) -> dict[str, str]:
    """Read the attributes; the last one of each name counts, if its value is valid."""
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
    # RFC 6265bis section 5.1.1 has the same bound.
    if year < 1601:
        return None
    try:
        hour, minute, second = clock
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def _month_of(token: str) -> int:
    """Return 1 to 12 by the first three letters; 0 where they are no month."""
    place = _MONTHS.find(token[:3].lower())
    return place // 3 + 1 if len(token) >= 3 and place % 3 == 0 else 0


MOST_COOKIES: Final = 3000
"""How many cookies are kept: at least so many, says RFC 6265bis (section 6.1)."""
MOST_COOKIES_OF_DOMAIN: Final = 50
"""How many cookies of one domain are kept (the same section). The least recently used
are dropped first."""
MOST_SENT_COOKIES: Final = 150
MOST_SENT_BYTES: Final = 8190
"""The most octets of cookies in one request. What servers have set must not make our
requests so large that others refuse them. The same bounds as in curl; cookies that do
not fit are left out."""

# Second levels below which countries register names.
_SECOND_LEVELS: Final = frozenset(
    """
    ac com co edu ed gob go gouv gov gv id info ltd mil muni nom net ne org or plc
    sch web
    """.split()  # noqa: SIM905 - a table reads better as text
)


class Cookie(Struct, frozen=True):
    """A cookie in a jar.

    Attributes:
        name: May be "".
        value: As the server sent it.
        domain: Lower case.
        path: Begins with "/".
        is_host_only: For ``domain`` itself; else for the hosts below it too.
        is_secure: For TLS only.
        is_http_only: Not for scripts.
        same_site: As sent, lower case; "" where it was not.
        expires_at: Unix time; None: with the jar.
    """

    name: str
    value: str
    domain: str
    path: str = "/"
    is_host_only: bool = True
    is_secure: bool = False
    is_http_only: bool = False
    same_site: str = ""
    expires_at: float | None = None

    def has_expired(self, now: float) -> bool:
        """Tell whether it has expired at ``now``, Unix time."""
        return self.expires_at is not None and self.expires_at <= now


class _Entry:
    """A cookie, when it was made and when it was last used, as ordinals."""

    __slots__ = ("cookie", "is_kept", "made", "used")

    def __init__(self, cookie: Cookie, made: int) -> None:
        self.cookie = cookie
        self.made = self.used = made
        self.is_kept = True


_Key = tuple[str, str, bool]
"""Path, name and whether it is host-only: together with the domain, its identity."""


def is_usual_suffix(domain: str) -> bool:
    """Tell whether a domain is a public suffix that is known without a list.

    Single labels, and a usual second level below the two letters of a country.
    """
    *leading, last = domain.split(".")
    if not leading:
        return True
    return len(leading) == 1 and len(last) == 2 and leading[0] in _SECOND_LEVELS


class CookieJar:
    """The cookies of one user, sent back to the hosts that they belong to.

    Args:
        is_public_suffix: Tells whether anybody can register a name right below a domain
            (lower-case A-labels, no final dot); see the module.
    """

    __slots__ = ("_count", "_domains", "_is_public_suffix", "_ordinal", "_queue")

    def __init__(
        self, is_public_suffix: Callable[[str], bool] = is_usual_suffix
    ) -> None:
        self._is_public_suffix = is_public_suffix
        self._domains: dict[str, dict[_Key, _Entry]] = {}
        self._ordinal = self._count = 0
        # A heap, the least recently used first as far as it was known when they were
        # added; empty until the jar is full for the first time.
        self._queue: list[tuple[bool, int, int, _Entry]] = []

    def store(self, url: str, fields: Iterable[str], now: float) -> None:
        """Take the Set-Cookie fields of a response, section 5.7.

        What a user agent ignores is ignored: a cookie for a foreign domain, a
        ``Secure`` one that came in the clear, and so on.

        Args:
            url: The URL of the request.
            fields: The values, as they came.
            now: Unix time.
        """
        for field in fields:
            said = parse_set_cookie(field)
            if said is not None:
                cookie = self._accept(url, said, now)
                if cookie is not None:
                    self.add(cookie, now)

    def add(self, cookie: Cookie, now: float) -> None:
        """Add a cookie, or replace the one of the same name, domain and path.

        A cookie that has expired is thereby deleted.
        """
        self._ordinal += 1
        key = (cookie.path, cookie.name, cookie.is_host_only)
        entries = self._domains.setdefault(cookie.domain, {})
        old = entries.pop(key, None)
        if old is not None:
            old.is_kept = False
            self._count -= 1
        if not cookie.has_expired(now):
            entry = _Entry(cookie, self._ordinal)
            if old is not None:
                entry.made = old.made
            entries[key] = entry
            self._count += 1
            if self._queue:
                heapq.heappush(self._queue, _place_of(entry))
            if len(entries) > MOST_COOKIES_OF_DOMAIN:
                self._evict(entries, now)
        if not entries:
            del self._domains[cookie.domain]
        if self._count > MOST_COOKIES:
            self._evict_of_all(now)

    def field_for(
        self, url: str, now: float, *, apart_from: Container[str] = ()
    ) -> str | None:
        """Return the Cookie field of a request, section 5.8.

        Longer paths come first, then cookies that were set earlier; no more than
        ``MOST_SENT_COOKIES`` and ``MOST_SENT_BYTES``.

        Args:
            url: The URL of the request.
            now: Unix time.
            apart_from: Names that are left out.

        Returns:
            None where there is no cookie for it.
        """
        if not self._domains:
            return None
        self._ordinal += 1
        entries = self._matching(url, now)
        entries.sort(key=lambda each: (-len(each.cookie.path), each.made))
        pairs: list[str] = []
        size = 0
        for each in entries:
            name, value = each.cookie.name, each.cookie.value
            pair = f"{name}={value}" if name else value
            if name in apart_from or size + len(pair) > MOST_SENT_BYTES:
                continue
            size += len(pair) + len("; ")
            each.used = self._ordinal
            pairs.append(pair)
            if len(pairs) == MOST_SENT_COOKIES:
                break
        return "; ".join(pairs) or None

    def clear(self) -> None:
        """Remove all cookies."""
        self._domains.clear()
        self._queue.clear()
        self._count = 0

    def __iter__(self) -> Iterator[Cookie]:
        """Iterate over all cookies, expired ones too, as they were set."""
        entries = [e for each in self._domains.values() for e in each.values()]
        entries.sort(key=lambda each: each.made)
        return (each.cookie for each in entries)

    def __len__(self) -> int:
        return self._count

    def _accept(self, url: str, said: SetCookie, now: float) -> Cookie | None:
        """Return the cookie that a field sets; None where it is ignored."""
        parts, host = _read_url(url)
        domain = _read_domain(said.domain, parts)
        if not host or domain is None:
            return None
        # Section 5.7: for its own host a cookie of a suffix is kept, as one for that
        # host alone.
        if domain and self._is_public_suffix(domain):
            if domain != host:
                return None
            domain = ""
        if domain and not _domain_matches(host, domain):
            return None
        cookie = Cookie(
            said.name,
            said.value,
            domain or host,
            said.path or _default_path(parts.path),
            # There are no hosts below an address.
            not domain or read_address(host) is not None,
            said.is_secure,
            said.is_http_only,
            said.same_site,
            said.expiry(now),
        )
        is_enciphered = parts.scheme in ("https", "wss")
        if not is_enciphered and (cookie.is_secure or self._is_guarded(cookie, host)):
            return None
        has_attribute = bool(said.domain)
        return cookie if _keeps_prefix(cookie, has_attribute, said.path) else None

    def _is_guarded(self, cookie: Cookie, host: str) -> bool:
        """Tell whether a cookie set in the clear would hide a Secure one."""
        return any(
            known.cookie.is_secure
            and known.cookie.name == cookie.name
            and _path_matches(cookie.path, known.cookie.path)
            for domain in _lineage(host)
            for known in self._domains.get(domain, {}).values()
        )

    def _matching(self, url: str, now: float) -> list[_Entry]:
        parts, host = _read_url(url)
        path = parts.path or "/"
        is_enciphered = parts.scheme in ("https", "wss")
        return [
            entry
            for domain in _lineage(host)
            for entry in self._domains.get(domain, {}).values()
            if (domain == host or not entry.cookie.is_host_only)
            and (is_enciphered or not entry.cookie.is_secure)
            and _path_matches(path, entry.cookie.path)
            and not entry.cookie.has_expired(now)
        ]

    def _evict(self, entries: dict[_Key, _Entry], now: float) -> None:
        """Make room in one domain: remove an expired cookie, or the least used."""
        doomed = [key for key, e in entries.items() if e.cookie.has_expired(now)]
        if not doomed:
            doomed = [min(entries, key=lambda k: _worth(entries[k]))]
        for key in doomed:
            entries.pop(key).is_kept = False
        self._count -= len(doomed)

    def _evict_of_all(self, now: float) -> None:
        """Make room in the jar: remove the least recently used cookie.

        A server may set a hundred cookies by one response of 3 KiB, so this must not
        look at all cookies each time: 5 us, not 500.
        """
        queue = self._queue
        if not queue or len(queue) > 4 * MOST_COOKIES:
            everyone = (e for each in self._domains.values() for e in each.values())
            queue[:] = map(_place_of, everyone)
            heapq.heapify(queue)
        while True:
            least = queue[0][-1]
            if not least.is_kept:
                heapq.heappop(queue)
            elif (place := _place_of(least)) != queue[0]:
                heapq.heapreplace(queue, place)  # it was used since then
            else:
                break
        name = least.cookie.domain
        self._evict(self._domains[name], now)
        if not self._domains[name]:
            del self._domains[name]


def _worth(entry: _Entry) -> tuple[bool, int]:
    """Return the order of removal, section 5.7: not Secure ones go first."""
    return entry.cookie.is_secure, entry.used


def _read_url(url: str) -> tuple[SplitResult, str]:
    """Split a URL; return it with its host as it is compared, "" where it has none."""
    parts = urlsplit(url)
    try:
        return parts, strip_final_dot(read_host(parts.hostname or ""))
    except ValueError:
        return parts, ""


def _read_domain(said: str, parts: SplitResult) -> str | None:
    """Read the attribute ``Domain``; None where a user agent ignores the cookie.

    Args:
        said: The attribute; "" where it was not sent.
        parts: The URL of the request.
    """
    if not said:
        return ""
    if said.endswith(".") and not (parts.hostname or "").endswith("."):
        return None
    try:
        return strip_final_dot(read_host(said))
    except ValueError:
        return None


def _place_of(entry: _Entry) -> tuple[bool, int, int, _Entry]:
    """Return its place in the order of removal; no two are equal."""
    return (*_worth(entry), id(entry), entry)


def _lineage(host: str) -> list[str]:
    """Return a host and all domains above it."""
    if read_address(host) is not None:
        return [host]
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


def _domain_matches(host: str, domain: str) -> bool:
    """Tell whether a host is a domain or below it: section 5.1.3."""
    if host == domain:
        return True
    # With the dot, or ``badexample.com`` would be below ``example.com``.
    return host.endswith(f".{domain}") and read_address(host) is None


def _path_matches(path: str, of_cookie: str) -> bool:
    """Tell whether a path is that of a cookie or below it: section 5.1.4."""
    return path == of_cookie or (
        path.startswith(of_cookie)
        and (of_cookie.endswith("/") or path[len(of_cookie)] == "/")
    )


def _default_path(path: str) -> str:
    """Return a path up to, and without, its last slash: section 5.1.4."""
    return path.rpartition("/")[0] or "/"


def _keeps_prefix(cookie: Cookie, has_domain: bool, path: str) -> bool:
    """Tell whether the cookie is as its prefix promises: section 5.7, 20 to 22."""
    name = (cookie.name or cookie.value).lower()
    if not name.startswith(("__secure-", "__host-")):
        return True
    if not cookie.name or not cookie.is_secure:
        return False
    return name.startswith("__secure-") or (not has_domain and path == "/")
