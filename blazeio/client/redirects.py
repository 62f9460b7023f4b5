"""Redirects: which request follows, to whom, and what must not be sent along.

``RedirectHandler`` decides it for one request of an app, whose challenges by Digest it
has answered as well.

RFC 9110 section 15.4; where it leaves a choice, as browsers do it (Fetch,
"HTTP-redirect fetch"): 301 and 302 turn a POST into a GET, 303 all methods but HEAD,
307 and 308 change nothing. Credentials stay with the origin that they were given for.
"""

from typing import Final
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.parse import quote as percent_encode

from msgspec import Struct
from msgspec.structs import replace

from blazeio.client.auth import Credentials, explain_refusal
from blazeio.client.proxy import bracketed, read_host_port
from blazeio.client.request import ClientRequest
from blazeio.client.url import parse_url
from blazeio.errors import InvalidResponse, RedirectError, TooManyRedirects
from blazeio.wire.grammar import quote
from blazeio.wire.headers import Headers

MOST_CHALLENGES: Final = 2
"""How many challenges of one request are answered: the first one, and one more, which
says that the nonce of the answer had expired."""

MOST_REDIRECTS: Final = 10
"""How many redirects are followed by default. Fetch has 20, curl 30; no real chain is
longer than a few."""

FOLLOWED: Final = frozenset((301, 302, 303, 307, 308))
"""Statuses that are followed. 300 is a choice for people; 304 to 306 lead nowhere."""

# RFC 9110 section 15.4 item 4: fields that describe content which is no longer sent.
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
# RFC 9110 section 15.4 items 1 to 3. Host is recreated from the URL.
_OF_ORIGIN: Final = frozenset(("authorization", "cookie", "host", "origin", "referer"))
_OF_PROXY: Final = frozenset(("proxy-authorization",))

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
# All visible ASCII but what a URL cannot hold; "%" is never escaped.
_URL_CHARS: Final = "!#$%&'()*+,/:;=?@[]~"


class Redirect(Struct, frozen=True):
    """The request that follows.

    Attributes:
        method: Its method.
        url: Absolute; without a fragment of its own it has that of the earlier URL.
        keeps_content: The content is sent again.
        dropped: Lower-case names of fields that are not sent again.
    """

    method: str
    url: str
    keeps_content: bool
    dropped: frozenset[str]

    def apply(self, request: ClientRequest) -> ClientRequest:
        """Return the request that follows, made from the one before."""
        if request.credentials is not None:
            request.credentials.forget(self.dropped)
        return replace(
            request,
            method=self.method,
            url=parse_url(self.url),
            fields=request.fields.without(self.dropped),
            body=request.body if self.keeps_content else None,
            content_lines=request.content_lines if self.keeps_content else b"",
        )


def decide_redirect(
    status: int,
    location: str | None,
    method: str,
    url: str,
    *,
    can_replay: bool = True,
    allows_downgrade: bool = False,
) -> Redirect | None:
    """Decide which request follows a response.

    Args:
        status: The status of the response.
        location: Its Location field, latin-1; None where it has none.
        method: The method of the request.
        url: The URL of the request; absolute.
        can_replay: Its content can be sent again, or it had none.
        allows_downgrade: From https to http is followed too.

    Returns:
        None where the response is not a redirect that is followed.

    Raises:
        RedirectError: The server's fault: it leads nowhere, or where nobody should
            follow. Nothing more was sent.
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
    """Return the absolute URL of a Location field.

    RFC 9110 section 10.2.2: it is relative to the URL of the request, whose fragment
    stays unless there is another. Spaces and what is not ASCII are percent-encoded
    octet by octet, since many servers send them. The host is read as the host of a
    request's URL is, so a name in UTF-8 becomes A-labels.

    Args:
        url: The URL of the request.
        location: The field, latin-1.

    Raises:
        RedirectError: It is no URL of http or https, or it has userinfo, which is
            neither used nor shown.
    """
    encoded = percent_encode(location.encode("latin-1"), safe=_URL_CHARS)
    try:
        target = urlsplit(urljoin(url, encoded))
        host, port = read_host_port(target.netloc)  # refuses userinfo
    except ValueError:
        raise _nowhere(location) from None
    if target.scheme not in _DEFAULT_PORTS:
        raise _nowhere(location)
    place = bracketed(host) if port is None else f"{bracketed(host)}:{port}"
    fragment = target.fragment or urlsplit(url).fragment
    return target._replace(netloc=place, fragment=fragment).geturl()


def _nowhere(location: str) -> RedirectError:
    """Make the error, without what is before an "@": it may be a password."""
    shown = f"...@{location.rpartition('@')[2]}" if "@" in location else location
    return RedirectError(f"Location {quote(shown)} is not a URL that can be followed")


def _may_know(before: SplitResult, after: SplitResult) -> bool:
    """Tell whether the new URL may be sent the credentials of the old one.

    That is so for the same origin (RFC 6454 section 5), and for the same host that is
    now reached over TLS: what was sent in the clear may be sent encrypted.
    """
    if before.hostname != after.hostname:
        return False
    origins = (before.scheme, _port_of(before)), (after.scheme, _port_of(after))
    return origins[0] == origins[1] or origins == (("http", 80), ("https", 443))


def _port_of(url: SplitResult) -> int:
    return url.port or _DEFAULT_PORTS[url.scheme]


class RedirectHandler(Struct):
    """Decides which request follows a response.

    Attributes:
        redirects: How many are followed; 0: none, a redirect is returned as it is.
        allows_downgrade: A redirect may lead from https to http.
        credentials: Answer challenges; None: a challenge is returned as it is.
    """

    redirects: int = 0
    allows_downgrade: bool = False
    credentials: Credentials | None = None
    _followed: int = 0
    _challenged: int = 0

    def renewed(self, credentials: Credentials | None) -> "RedirectHandler":
        """Return a handler with the same settings that has not followed anything."""
        return RedirectHandler(self.redirects, self.allows_downgrade, credentials)

    def decide(
        self, request: ClientRequest, status: int, headers: Headers
    ) -> Redirect | None:
        """Decide which request follows a response; None: it is returned to the caller.

        Args:
            request: What was asked.
            status: The status of the response.
            headers: Its fields.

        Raises:
            RedirectError: The server's fault: it leads to where nobody should follow.
            TooManyRedirects: Likewise: each redirect has led to another.
            InvalidResponse: Likewise: its Digest challenge cannot be answered.
        """
        if status == 401:
            return self._answer_challenge(request, headers)
        if not self.redirects:
            return None
        # Equal ones are one: RFC 9110 section 10.2.2 allows a single Location, and two
        # that differ could lead this client and a proxy to different places.
        locations = set(headers.get_all("location"))
        if len(locations) > 1 and status in FOLLOWED:
            raise RedirectError(f"{request.url}: more than one Location")
        redirect = decide_redirect(
            status,
            next(iter(locations), None),
            request.method,
            request.url.text,
            can_replay=request.can_repeat,
            allows_downgrade=self.allows_downgrade,
        )
        if redirect is not None:
            self._followed += 1
            # Counted over all attempts of one request, so that a loop over several
            # servers ends, too.
            if self._followed > self.redirects:
                message = f"{request.url}: more than {self.redirects} redirects"
                raise TooManyRedirects(message)
        return redirect

    def _answer_challenge(
        self, request: ClientRequest, headers: Headers
    ) -> Redirect | None:
        """Return the same request, where its challenge can be answered."""
        self._challenged += 1
        # Read each time: a redirect to another origin drops it.
        digest = None if self.credentials is None else self.credentials.digest
        if digest is None or self._challenged > MOST_CHALLENGES:
            return None
        fields = headers.get_all("www-authenticate")
        # Content that came from an iterator is gone: it cannot be sent with the answer.
        if not request.can_repeat:
            return None
        if not digest.learn(request.url.origin, fields):
            reason = explain_refusal(fields)
            if reason is not None:
                raise InvalidResponse(f"{request.url}: {reason}")
            return None
        return Redirect(request.method, request.url.text, True, frozenset())
