"""The credentials and cookies of a request: Basic, Digest and bearer tokens.

``Credentials`` belongs to one request. They are bound to the origin that the caller
named: a redirect to another origin goes without them.

Digest (RFC 7616) is better than Basic where there is no TLS, and devices that speak no
TLS ask for it; elsewhere, TLS with Basic or a token is the better choice. The client
has to see a challenge before it can answer one: ``DigestAuth`` keeps the last challenge
of each origin, so that only the first request is sent twice.
"""

import secrets
import time
from collections.abc import Iterable, Mapping

from blazeio.client.cookies import CookieJar
from blazeio.client.digest import DigestChallenge, choose_digest
from blazeio.client.proxy import basic_credentials
from blazeio.client.url import Origin, Url
from blazeio.content.cookies import serialize_cookie
from blazeio.errors import InvalidArgument
from blazeio.wire.serializer import serialize_field

CNONCE_OCTETS = 8


class DigestAuth:
    """Name and password for servers that ask by Digest (RFC 7616).

    The first request to an origin is refused and sent again. After that the challenge
    is answered beforehand, until the server sends another one.

    Args:
        username: Any; sent as UTF-8.
        password: Only its hash is sent.

    Raises:
        InvalidArgument: One of them is no str.
    """

    def __init__(self, username: str, password: str) -> None:
        if not (isinstance(username, str) and isinstance(password, str)):
            raise InvalidArgument("DigestAuth: name and password are each a str")
        try:
            f"{username}{password}".encode()
        except UnicodeEncodeError:
            message = "DigestAuth: a name or password that UTF-8 cannot say"
            raise InvalidArgument(message) from None
        self._username = username
        self._password = password
        self._challenges: dict[Origin, DigestChallenge] = {}
        self._counts: dict[Origin, int] = {}

    def __repr__(self) -> str:
        return f"<DigestAuth {self._username}>"

    def learn(self, origin: Origin, fields: Iterable[str]) -> bool:
        """Take a challenge; return whether it can be answered.

        Args:
            origin: The server.
            fields: Its WWW-Authenticate fields.
        """
        challenge = choose_digest(fields)
        if challenge is None or challenge == self._challenges.get(origin):
            return False  # the same challenge again: the server has refused the answer
        self._challenges[origin] = challenge
        # The count begins anew with each nonce (RFC 7616 section 3.4, nc): a server
        # refuses one that it has seen.
        self._counts[origin] = 0
        return True

    def authorize(
        self, origin: Origin, method: str, target: str, content: bytes
    ) -> str | None:
        """Return the Authorization field; None before there was a challenge.

        Args:
            origin: The server.
            method: The method of the request.
            target: Its target, as it is sent.
            content: Its content.
        """
        challenge = self._challenges.get(origin)
        if challenge is None:
            return None
        self._counts[origin] += 1
        return challenge.answer(
            self._username,
            self._password,
            method,
            target,
            cnonce=secrets.token_hex(CNONCE_OCTETS),
            count=self._counts[origin],
            content=content,
        )


Auth = tuple[str, str] | DigestAuth
"""Name and password for Basic (RFC 7617), or a ``DigestAuth``."""


def check_auth(auth: object) -> None:
    """Refuse what is no ``Auth``: a request must not silently go without credentials.

    Raises:
        InvalidArgument: The caller's fault; the error does not show the value.
    """
    if auth is None or isinstance(auth, DigestAuth):
        return
    is_pair = isinstance(auth, tuple) and len(auth) == 2
    if not is_pair or not all(isinstance(each, str) for each in auth):  # type: ignore[attr-defined]
        kind = type(auth).__name__
        if isinstance(auth, tuple):
            kind += (
                f" of {', '.join(type(each).__name__ for each in auth) or 'nothing'}"
            )
        message = (
            f"auth: expected (name, password), each a str, or a DigestAuth, not {kind}"
        )
        raise InvalidArgument(message)


class Credentials:
    """The credentials of one request, and of those that it is redirected to.

    Args:
        url: Its userinfo is used where there is no ``auth``.
        auth: Name and password, or a ``DigestAuth``.
        cookies: Sent besides those of the jar.
        jar: The cookie jar of the session.

    Attributes:
        digest: Answers challenges; None: challenges are not answered.
    """

    __slots__ = ("_authorization", "_cookies", "_jar", "_names", "digest")

    def __init__(
        self,
        url: Url,
        auth: Auth | None,
        cookies: Mapping[str, str] | None,
        jar: CookieJar | None,
    ) -> None:
        check_auth(auth)
        self._authorization = url.authorization
        if isinstance(auth, tuple):
            self._authorization = basic_credentials(*auth)
        self.digest = auth if isinstance(auth, DigestAuth) else None
        self._cookies = serialize_cookie(cookies) if cookies else ""
        self._names = frozenset(cookies or ())
        self._jar = jar

    def copy(self) -> "Credentials":
        """Return an independent copy, with the same jar and digest."""
        twin = Credentials.__new__(Credentials)
        for name in Credentials.__slots__:
            setattr(twin, name, getattr(self, name))
        return twin

    def serialize(
        self, url: Url, method: str, content: bytes, given: frozenset[str]
    ) -> bytes:
        """Serialize the field lines Authorization and Cookie.

        Args:
            url: The URL of the request.
            method: The method of the request.
            content: Its content, as far as it is known.
            given: Lower-case names of fields that the caller has set.
        """
        lines = b""
        authorization = self._authorization
        if self.digest is not None:
            authorization = self.digest.authorize(
                url.origin, method, url.target, content
            )
        # What the caller has set wins, and is not sent twice: of two Authorization
        # fields nobody knows which one counts.
        if authorization is not None and "authorization" not in given:
            lines += serialize_field("Authorization", authorization)
        if "cookie" not in given:
            lines += self._serialize_cookies(url)
        return lines

    def _serialize_cookies(self, url: Url) -> bytes:
        """Serialize one Cookie field; the caller's cookies win over the jar's."""
        cookies = self._cookies
        if self._jar is not None:
            kept = self._jar.field_for(url.text, time.time(), apart_from=self._names)
            cookies = "; ".join(filter(None, (cookies, kept)))
        return serialize_field("Cookie", cookies) if cookies else b""

    def forget(self, dropped: frozenset[str]) -> None:
        """Drop what must not be sent to another origin, by the names of its fields."""
        if "authorization" in dropped:
            self._authorization = self.digest = None
        if "cookie" in dropped:
            self._cookies, self._names = "", frozenset()

    def learn_cookies(self, url: Url, fields: list[str]) -> None:
        """Store the cookies that a response sets."""
        if self._jar is not None:
            self._jar.store(url.text, fields, time.time())
