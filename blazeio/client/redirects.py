"""Redirects: what is asked next, of whom, and what must not go along.

RFC 9110 section 15.4, where it leaves a choice as browsers do it (Fetch, "HTTP-
redirect fetch"): 301 and 302 make a GET of a POST, 303 of all but HEAD, 307 and
308 change nothing. Credentials stay with the origin that they were given for.
"""

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.parse import quote as percent_encode

from msgspec import Struct

from blazeio.client.proxy import bracketed, read_place
from blazeio.errors import RedirectError
from blazeio.wire.grammar import quote

MOST_REDIRECTS: Final = 10
"""That are followed for one request, unless the caller says otherwise. Fetch has
20, curl 30; no chain that is meant is longer than a few."""

FOLLOWED: Final = frozenset((301, 302, 303, 307, 308))
"""Of the others 300 is a choice for people, and 304 to 306 lead nowhere."""

# RFC 9110 section 15.4 item 4, and what would be said of content that is gone.
_OF_CONTENT: Final = frozenset(
    (
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-type",
        "digest",
        "expect",
        "last-modified",
        "trailer",
        "transfer-encoding",
    )
)
# Section 15.4 items 1 to 3. Host is made anew from the URL.
_OF_ORIGIN: Final = frozenset(("authorization", "cookie", "host", "origin", "referer"))
_OF_PROXY: Final = frozenset(("proxy-authorization",))

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# All of ASCII that is visible but what no URL holds; "%" is there already.
_URL_CHARS: Final = "!#$%&'()*+,/:;=?@[]~"


class Redirect(Struct, frozen=True):
    """The next request.

    Attributes:
        method: Of it.
        url: Absolute, with the fragment of the one before where it has none.
        keeps_content: The content is sent again.
        dropped: Lower-case names of fields that are not sent again.
    """

    method: str
    url: str
    keeps_content: bool
    dropped: frozenset[str]


def decide_redirect(
    status: int,
    location: str | None,
    method: str,
    url: str,
    *,
    can_replay: bool = True,
    allows_downgrade: bool = False,
) -> Redirect | None:
    """Decide what follows a response.

    Args:
        status: Of the response.
        location: Its Location field, latin-1; None where it has none.
        method: Of the request.
        url: Of the request; absolute.
        can_replay: Its content can be sent again, or it had none.
        allows_downgrade: From https to http is followed too.

    Returns:
        None where the response is the answer.

    Raises:
        RedirectError: It leads nowhere, or where nobody should follow. The
            server's fault; nothing more was sent.
    """
    if status not in FOLLOWED or location is None:
        return None
    target = resolve_location(url, location)
    before, after = urlsplit(url), urlsplit(target)
    if before.scheme == "https" and after.scheme == "http" and not allows_downgrade:
        message = f"{status} from https to http, {quote(target)}, is not followed"
        raise RedirectError(message)
    is_get = (status in (301, 302) and method == "POST") or (
        status == 303 and method != "HEAD"
    )
    if not is_get and not can_replay:
        message = (
            f"{status} to {quote(target)} wants the content again, "
            "and a stream can be sent once only"
        )
        raise RedirectError(message)
    dropped = _OF_PROXY
    if is_get:
        dropped |= _OF_CONTENT
    if not _may_know(before, after):
        dropped |= _OF_ORIGIN
    return Redirect("GET" if is_get else method, target, not is_get, dropped)


def resolve_location(url: str, location: str) -> str:
    """Make an absolute URL of a Location field.

    RFC 9110 section 10.2.2: relative to the URL of the request, whose fragment
    stays unless there is another. What is not ASCII is percent-encoded octet by
    octet, as are spaces: many servers send them. The host is read as that of a
    request URL is, so a name in UTF-8 becomes one in A-labels.

    Args:
        url: Of the request.
        location: The field, latin-1.

    Raises:
        RedirectError: It is no URL of http or https, or it names credentials,
            which are neither used nor shown.
    """
    encoded = percent_encode(location.encode("latin-1"), safe=_URL_CHARS)
    try:
        target = urlsplit(urljoin(url, encoded))
        host, port = read_place(target.netloc)  # refuses userinfo
    except ValueError:
        raise _nowhere(location) from None
    if target.scheme not in _DEFAULT_PORTS:
        raise _nowhere(location)
    place = bracketed(host) if port is None else f"{bracketed(host)}:{port}"
    fragment = target.fragment or urlsplit(url).fragment
    return target._replace(netloc=place, fragment=fragment).geturl()


def _nowhere(location: str) -> RedirectError:
    """What is before an "@" is left out: it may be a password."""
    shown = f"...@{location.rpartition('@')[2]}" if "@" in location else location
    return RedirectError(f"Location {quote(shown)} is no URL that can be followed")


def _may_know(before: SplitResult, after: SplitResult) -> bool:
    """Whether the new place may be told what the old one was.

    The same origin (RFC 6454 section 5), or the same host at last over TLS: what
    was sent in the clear can be sent enciphered.
    """
    if before.hostname != after.hostname:
        return False
    origins = (before.scheme, _port_of(before)), (after.scheme, _port_of(after))
    return origins[0] == origins[1] or origins == (("http", 80), ("https", 443))


def _port_of(url: SplitResult) -> int:
    return url.port or _DEFAULT_PORTS[url.scheme]
