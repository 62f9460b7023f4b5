"""A request as it is sent, and the one that follows its response.

A ``ClientRequest`` is a value: a redirect, or a field that is set for another attempt,
makes a new one. Fields of the caller win over those of the session, and both win over
the defaults (User-Agent, Accept, Accept-Encoding). A plain GET, with no fields, content
or credentials, is three joined byte strings; everything else is serialized field by
field. The framing is decided here too (RFC 9112 section 6.3); the content itself is
written by the response (``client.response``).
"""

from collections.abc import AsyncIterable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.parse import quote as percent_encode

from msgspec import Struct
from msgspec.structs import replace

from blazeio.client.auth import Credentials, explain_refusal
from blazeio.client.url import bracketed, parse_url, read_host_port
from blazeio.content.codings import ACCEPTED
from blazeio.content.field_values import serialize_cookie
from blazeio.errors import (
    FieldInput,
    InvalidArgument,
    InvalidResponse,
    LocalProtocolError,
    RedirectError,
    TooManyRedirects,
)
from blazeio.wire.framing import Framing, OutgoingMessage
from blazeio.wire.grammar import TOKEN, quote
from blazeio.wire.headers import (
    NO_FIELDS,
    FieldBlock,
    Headers,
    list_field_pairs,
    serialize_field,
    serialize_fields,
)

if TYPE_CHECKING:
    from blazeio.client.auth import Credentials
    from blazeio.client.url import Origin, Url


_USUAL_METHODS: Final = {
    name.lower(): name
    for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
# RFC 9110 section 8.6: with these methods an empty request says "Content-Length: 0",
# since a server may refuse one without a length.
_WITH_CONTENT: Final = frozenset(("POST", "PUT", "PATCH"))

_DEFAULTS: Final = {
    "user-agent": b"User-Agent: blazeio\r\n",
    "accept": b"Accept: */*\r\n",
    # Without this field a server may choose any coding, and an app that relays the
    # response as it is would send it on to a client that cannot decode it.
    "accept-encoding": b"Accept-Encoding: identity\r\n",
}
_ALL_DEFAULTS: Final = b"".join(_DEFAULTS.values())
_PLAIN_END: Final = _ALL_DEFAULTS + b"\r\n"
_FOR_PROXY: Final = frozenset(("proxy-authorization",))
_COMPRESSED: Final = {
    **_DEFAULTS,
    "accept-encoding": serialize_field("Accept-Encoding", ", ".join(ACCEPTED)),
}


class MeasuredBody(AsyncIterable[bytes]):
    """Content in pieces of which it is known what is to come: a form, or a file.

    Attributes:
        size_bytes: The size of all of it; None where that is not known before.
        can_repeat: It can be iterated over once more.
    """

    size_bytes: int | None
    can_repeat: bool


class ClientRequest(Struct, frozen=True):
    """What is asked of a server.

    Attributes:
        method: As it is sent.
        url: With the query; its userinfo is in ``credentials``.
        fields: Of the session and of the caller, serialized.
        body: Octets, or pieces that are made while they are sent; None: there is no
            content, or the caller writes it.
        content_lines: Field lines that describe ``body``, such as Content-Type.
        credentials: Authorization and cookies; None: there are none.
        compress: The response may come in any coding that can be decoded here.
        upgrade: The protocol to change to; None: HTTP goes on.
        expects_continue: Send the content only after a 100 (Continue).
        is_plain: A GET that consists of nothing but its URL, sent to the origin.
    """

    method: str
    url: "Url"
    fields: FieldBlock = NO_FIELDS
    body: bytes | AsyncIterable[bytes | str] | None = None
    content_lines: bytes = b""
    credentials: "Credentials | None" = None
    compress: bool = False
    upgrade: str | None = None
    expects_continue: bool = False
    is_plain: bool = False

    @property
    def announces_content(self) -> bool:
        """Whether the caller's fields announce content that will be written later."""
        return self.body is None and declares_content(self.fields)

    @property
    def can_repeat(self) -> bool:
        """Whether it can be sent again: its content is at hand, and not a stream."""
        if self.body is None:
            return not declares_content(self.fields)
        if isinstance(self.body, MeasuredBody):
            return self.body.can_repeat
        return not isinstance(self.body, AsyncIterable)

    def with_field(self, name: str, value: str) -> "ClientRequest":
        """Return the same request with a field instead of those of its name."""
        fields = self.fields.replaced(name, value)
        return replace(self, fields=fields, is_plain=False)

    def begin_message(
        self, origin: "Origin", *, now: float, cnonce: str
    ) -> OutgoingMessage:
        """Serialize the head, and decide the framing of the content.

        Args:
            origin: Who the connection leads to: the server or a proxy.
            now: Seconds since 1970, where there are credentials.
            cnonce: A random value, where they answer challenges.
        """
        # Hot: runs once per request that is not plain.
        fields, lines = self.fields, self.content_lines
        if lines and "content-type" in fields.names:
            lines = b""
        if self.upgrade is not None:
            lines += b"Connection: upgrade\r\n"
            lines += serialize_field("Upgrade", self.upgrade)
        if self.expects_continue and "expect" not in fields.names:
            lines += b"Expect: 100-continue\r\n"
        if self.credentials is not None:
            content = self.body if isinstance(self.body, bytes) else b""
            lines += self.credentials.serialize(
                self.url, self.method, content, fields.names, now=now, cnonce=cnonce
            )
        start = self.url.request_start
        if origin.is_forwarding:
            start = self.url.absolute_start
            if "proxy-authorization" not in fields.names:
                lines += origin.proxy_lines
        elif origin.proxy is not None:
            # The request goes through a tunnel, to the server, which must not see the
            # credentials of the proxy.
            fields = fields.without(_FOR_PROXY)
        head = serialize_request_head(
            self.method, start, fields, lines, compress=self.compress
        )
        is_open = self.body is None and "transfer-encoding" in fields.names
        size = None if is_open else _measure(self.body)
        return frame_request(self.method, head, fields, size)


def _measure(body: bytes | AsyncIterable[bytes | str] | None) -> int | None:
    """Return the size of a body; None where it is not known before it was sent."""
    if isinstance(body, MeasuredBody):
        return body.size_bytes
    return None if isinstance(body, AsyncIterable) else len(body or b"")


def read_method(method: str) -> str:
    """Return the method as it is sent; usual ones may be written in any case.

    Raises:
        LocalProtocolError: The caller's fault: it is no token.
    """
    usual = _USUAL_METHODS.get(method.lower())
    if usual is not None:
        return usual
    if TOKEN.fullmatch(method) is None:
        raise LocalProtocolError(f"method {quote(method)} is not a token")
    return method


def merge_fields(
    standing: FieldInput | Headers | None, fields: FieldInput | Headers | None
) -> FieldBlock:
    """Serialize the fields of one request over those of its session.

    Raises:
        LocalProtocolError: The caller's fault: a field is malformed.
        InvalidArgument: Likewise: they are no names and values.
    """
    try:
        if not standing or not fields:
            return serialize_fields(fields or standing)
        pairs = list(list_field_pairs(fields))
        given = {_name(name) for name, _ in pairs}
        kept = [
            each for each in list_field_pairs(standing) if _name(each[0]) not in given
        ]
        return serialize_fields(kept + pairs)
    except (TypeError, ValueError, LocalProtocolError):
        if _are_fields(standing) and _are_fields(fields):
            raise
        # "from None": the text of the first error shows the value, maybe a secret.
        message = "headers: expected a dict or pairs of names and values, each a str"
        raise InvalidArgument(message) from None


def _are_fields(fields: Any) -> bool:
    """Tell whether a caller's fields have the shape of fields."""
    if fields is None or isinstance(fields, Headers):
        return True
    pairs = fields.items() if isinstance(fields, Mapping) else fields
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        return False
    return all(
        isinstance(pair, tuple | list)
        and len(pair) == 2
        and isinstance(pair[0], str | bytes)
        for pair in pairs
    )


def join_cookies(
    block: FieldBlock, cookies: Mapping[str, str] | None = None
) -> FieldBlock:
    """Write one Cookie field from all cookies that the caller gave.

    RFC 6265 section 5.4: a request has one such field, with no name twice.

    Args:
        block: With a field ``Cookie``, or several.
        cookies: Win over those of the same name.

    Raises:
        LocalProtocolError: The caller's fault: one of them cannot be a cookie.
    """
    given = [
        str(line.partition(b":")[2], "latin-1")
        for line in block.lines.splitlines()
        if line[:7].lower() == b"cookie:"
    ]
    if len(given) == 1 and not cookies:
        return block
    names = set(cookies or ())
    pairs: list[str] = []
    for pair in ";".join(given).split(";"):
        text = pair.strip(" \t")
        name = text.partition("=")[0].rstrip(" \t")
        if text and name not in names:
            names.add(name)
            pairs.append(text)
    if cookies:
        pairs.append(serialize_cookie(cookies))
    return block.replaced("Cookie", "; ".join(pairs))


def _name(name: str | bytes) -> str:
    return (name if isinstance(name, str) else str(name, "latin-1")).lower()


def serialize_plain_get(start: bytes) -> bytes:
    """Serialize a GET that consists of nothing but its URL."""
    # Hot: takes 0.2 us; ``ClientRequest.begin_message`` takes 2.5.
    return b"".join((b"GET", start, _PLAIN_END))


def serialize_request_head(
    method: str,
    start: bytes,
    block: FieldBlock,
    extra_lines: bytes = b"",
    *,
    compress: bool = False,
) -> bytes:
    """Serialize request line and fields, without framing and the empty line.

    Args:
        method: As ``read_method`` returned it.
        start: The request line after its method, and Host.
        block: Fields of the caller; each replaces the default of its name.
        extra_lines: Further field lines.
        compress: The response may come in any coding that can be decoded here.
    """
    # Hot: runs once per request.
    if not block.names and not compress:
        defaults = _ALL_DEFAULTS
    else:
        if "host" in block.names:
            start = start.partition(b"\r\n")[0] + b"\r\n"
        lines = _COMPRESSED if compress else _DEFAULTS
        defaults = b"".join(
            [line for name, line in lines.items() if name not in block.names]
        )
    return b"".join((method.encode(), start, defaults, block.lines, extra_lines))


def frame_request(
    method: str, head: bytes, block: FieldBlock, content_bytes: int | None
) -> OutgoingMessage:
    """Decide the framing of a request: RFC 9112 section 6.3.

    Args:
        method: The method of the request.
        head: As ``serialize_request_head`` returned it.
        block: A Content-Length among these fields is kept: the content must have it.
        content_bytes: The size of the content; None: it is not known yet.
    """
    length = block.content_length
    if length is None:
        length = content_bytes
    if length is None:
        framing = Framing.CHUNKED
    elif length or method in _WITH_CONTENT or block.content_length is not None:
        framing = Framing.LENGTH
    else:
        framing, length = Framing.NONE, None
    return OutgoingMessage(
        head, framing, length, 1, is_persistent=not block.wants_close
    )


def declares_content(block: FieldBlock) -> bool:
    """Tell whether fields announce content (by its length, or by ``chunked``)."""
    return bool(block.content_length) or "transfer-encoding" in block.names


# Which request follows a response, to whom, and what must not be sent along
#
# RFC 9110 section 15.4; where it leaves a choice, as browsers do it (Fetch,
# "HTTP-redirect fetch"): 301 and 302 turn a POST into a GET, 303 all methods but HEAD,
# 307 and 308 change nothing. Credentials stay with the origin that they were given for.


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
