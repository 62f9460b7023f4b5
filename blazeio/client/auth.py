"""The credentials and cookies of a request: Basic, Digest and bearer tokens.

``Credentials`` belongs to one request. They are bound to the origin that the caller
named: a redirect to another origin goes without them.

Digest (RFC 7616) is better than Basic where there is no TLS, and devices that speak no
TLS ask for it; elsewhere, TLS with Basic or a token is the better choice. The client
has to see a challenge before it can answer one. A server sends one or more in
WWW-Authenticate fields (RFC 9110 section 11.6.1); the best one that is known here is
taken, and answered in the Authorization field by hashes of the name, the password and
the request. ``DigestAuth`` keeps the last challenge of each origin, so that only the
first request is sent twice.

Nothing is drawn by chance here, and no clock is read: the caller passes both.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from copy import copy
from typing import Final
from urllib.parse import quote as percent_encode

from msgspec import Struct

from blazeio.client.cookies import CookieJar
from blazeio.client.url import Origin, Url, basic_credentials
from blazeio.content.field_values import serialize_cookie
from blazeio.errors import InvalidArgument
from blazeio.wire.grammar import TCHAR, quote
from blazeio.wire.headers import serialize_field

CNONCE_OCTETS: Final = 8
"""Octets of chance in the client's value of an answer to Digest."""

# Challenges of Digest

# RFC 9110 section 11.6.1: a list of challenges, each with a list of parameters. The
# token before a parameter is a scheme, or a whole challenge without parameters.
_PARAMETER: Final = re.compile(
    rf"[ \t,]*+(?>(?:([{TCHAR}]++)[ \t]++(?=[{TCHAR}]++[ \t]*+=[^=,]))?)"
    rf"([{TCHAR}]++)[ \t]*+=[ \t]*+"
    rf'(?>"((?>(?:[^"\\]|\\.)*))"|([{TCHAR}]++))[ \t]*+(?=,|\Z)'
)
_WITHOUT_PARAMETERS: Final = re.compile(rf"[ \t,]*+[{TCHAR}]++[ \t]*+[^ \t,]*+(?=,|\Z)")
_QUOTED_PAIR: Final = re.compile(r"\\(.)")

# RFC 7616 section 6.1, and others that are in use, best first: the best one that the
# server offers is taken.
_HASHES: Final = {
    "SHA-512-256": "sha512_256",
    "SHA-512": "sha512",
    "SHA-256": "sha256",
    "SHA": "sha1",
    "MD5": "md5",
}
LONGEST_VALUE_CHARS: Final = 4096
"""Bound of realm, nonce and opaque, which are sent back with each request: longer
values would make our requests larger than other servers accept."""
_SESSION: Final = "-SESS"


class DigestChallenge(Struct, frozen=True):
    """A challenge that can be answered; RFC 7616 section 3.3.

    Attributes:
        realm: Names the protection space.
        nonce: The server's random value; it is hashed.
        algorithm: As it was sent.
        opaque: Sent back unchanged; None where there was none.
        qop: ``auth``, ``auth-int``, or "" as in RFC 2069.
        hides_username: The name is sent as a hash.
    """

    realm: str
    nonce: str
    algorithm: str = "MD5"
    opaque: str | None = None
    qop: str = "auth"
    hides_username: bool = False

    def answer(
        self,
        username: str,
        password: str,
        method: str,
        target: str,
        *,
        cnonce: str,
        count: int = 1,
        content: bytes = b"",
    ) -> str:
        """Return the Authorization field; section 3.4.

        Args:
            username: Any, sent as UTF-8.
            password: Likewise; only its hash is sent.
            method: The method of the request.
            target: The request target, as it is sent.
            cnonce: The client's random value.
            count: How many requests have used this nonce, with this one.
            content: Hashed where the server wants that (``auth-int``).
        """
        # Hash the octets that the server sent, not their text.
        realm, nonce = self.realm.encode("latin-1"), self.nonce.encode("latin-1")
        # Eight hexadecimal digits: RFC 7616 section 3.4.
        nc = f"{count:08x}"
        secret = self._hash(b"%b:%b:%b" % (username.encode(), realm, password.encode()))
        if self.algorithm.upper().endswith(_SESSION):
            secret = self._hash(f"{secret}:".encode() + nonce + f":{cnonce}".encode())
        asked = f"{method}:{target}"
        if self.qop == "auth-int":
            asked += f":{self._hash(content)}"
        proved = f"{nc}:{cnonce}:{self.qop}:" if self.qop else ""
        response = self._hash(
            f"{secret}:".encode() + nonce + f":{proved}{self._hash(asked)}".encode()
        )
        parts = [
            self._name(username),
            f"realm={_quoted(self.realm)}",
            f"nonce={_quoted(self.nonce)}",
            f"uri={_quoted(target)}",
            f'response="{response}"',
            f"algorithm={self.algorithm}",
        ]
        if self.opaque is not None:
            parts.append(f"opaque={_quoted(self.opaque)}")
        if self.qop:
            parts.append(f'qop={self.qop}, nc={nc}, cnonce="{cnonce}"')
        return f"Digest {', '.join(parts)}"

    @property
    def rank(self) -> int:
        """The place of its algorithm; lower is better."""
        return list(_HASHES).index(_plain(self.algorithm))

    def _hash(self, data: str | bytes) -> str:
        octets = data if isinstance(data, bytes) else data.encode()
        name = _HASHES[_plain(self.algorithm)]
        # ``usedforsecurity=False``: where only FIPS algorithms are allowed, MD5 would
        # raise. The server has chosen it, and a better one is taken where it offers
        # one.
        return hashlib.new(name, octets, usedforsecurity=False).hexdigest()

    def _name(self, username: str) -> str:
        """Return the name as it is sent: section 3.4.4."""
        if self.hides_username:
            realm = self.realm.encode("latin-1")
            hidden = self._hash(b"%b:%b" % (username.encode(), realm))
            return f'username="{hidden}", userhash=true'
        if username.isascii():
            return f"username={_quoted(username)}"
        return f"username*=UTF-8''{percent_encode(username, safe='')}"


def choose_digest(fields: Iterable[str]) -> DigestChallenge | None:
    """Choose among the challenges of WWW-Authenticate fields.

    Returns:
        The one with the best algorithm that is known here; None where no Digest
        challenge can be answered.
    """
    challenges = [_read(each) for field in fields for each in _parse_digests(field)]
    able = [each for each in challenges if isinstance(each, DigestChallenge)]
    return min(able, key=lambda each: each.rank, default=None)


def explain_refusal(fields: Iterable[str]) -> str | None:
    """Explain why the Digest challenges of WWW-Authenticate fields cannot be answered.

    Returns:
        None where one can be, or where there is none.
    """
    challenges = [_read(each) for field in fields for each in _parse_digests(field)]
    if not challenges or any(isinstance(each, DigestChallenge) for each in challenges):
        return None
    return f"a Digest challenge that cannot be answered: {challenges[0]}"


def _parse_digests(field: str) -> list[dict[str, str]]:
    """Return the parameters of each Digest challenge."""
    found: list[dict[str, str]] = []
    current: dict[str, str] = {}
    at = 0
    while at < len(field):
        match = _PARAMETER.match(field, at) or _WITHOUT_PARAMETERS.match(field, at)
        if match is None:
            break
        at = match.end()
        if match.re is _WITHOUT_PARAMETERS:
            continue
        scheme, name, quoted, plain = match.groups()
        if scheme is not None:
            current = {}
            if scheme.lower() == "digest":
                found.append(current)
        value = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        current.setdefault(name.lower(), value)
    return found


def _read(parameters: dict[str, str]) -> DigestChallenge | str:
    """Read a challenge; a str says why it cannot be answered."""
    for name in ("realm", "nonce"):
        if name not in parameters:
            return f"it has no {name}"
    for name in ("realm", "nonce", "opaque"):
        if len(parameters.get(name, "")) > LONGEST_VALUE_CHARS:
            return f"its {name} has more than {LONGEST_VALUE_CHARS} octets"
    algorithm = parameters.get("algorithm", "MD5")
    if _plain(algorithm) not in _HASHES:
        return f"algorithm {quote(algorithm)} is not known"
    qops = parameters.get("qop", "").lower().replace(" ", "").split(",")
    qop = next((each for each in ("auth", "auth-int", "") if each in qops), None)
    if qop is None:
        return f"qop {quote(parameters['qop'])} is not known"
    return DigestChallenge(
        parameters["realm"],
        parameters["nonce"],
        algorithm,
        parameters.get("opaque"),
        qop,
        parameters.get("userhash", "").lower() == "true",
    )


def _plain(algorithm: str) -> str:
    return algorithm.upper().removesuffix(_SESSION)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# What a caller gives


class DigestAuth:
    """Name and password for servers that ask by Digest (RFC 7616).

    The password itself is not sent. The first request to an origin is refused and sent
    again. After that the challenge is answered beforehand, until the server sends
    another one.

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
        self, origin: Origin, method: str, target: str, content: bytes, cnonce: str
    ) -> str | None:
        """Return the Authorization field; None before there was a challenge.

        Args:
            origin: The server.
            method: The method of the request.
            target: Its target, as it is sent.
            content: Its content.
            cnonce: The client's random value.
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
            cnonce=cnonce,
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
    kind = type(auth).__name__
    if isinstance(auth, tuple):
        if len(auth) == 2 and all(isinstance(each, str) for each in auth):
            return
        kind += f" of {', '.join(type(each).__name__ for each in auth) or 'nothing'}"
    wanted = "(name, password), each a str, or a DigestAuth"
    raise InvalidArgument(f"auth: expected {wanted}, not {kind}")


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
        return copy(self)

    def serialize(
        self,
        url: Url,
        method: str,
        content: bytes,
        given: frozenset[str],
        *,
        now: float,
        cnonce: str,
    ) -> bytes:
        """Serialize the field lines Authorization and Cookie.

        Args:
            url: The URL of the request.
            method: The method of the request.
            content: Its content, as far as it is known.
            given: Lower-case names of fields that the caller has set.
            now: Seconds since 1970, for cookies that expire.
            cnonce: The client's random value, for Digest.
        """
        lines = b""
        authorization = self._authorization
        if self.digest is not None:
            authorization = self.digest.authorize(
                url.origin, method, url.target, content, cnonce
            )
        # What the caller has set wins, and is not sent twice: of two Authorization
        # fields nobody knows which one counts.
        if authorization is not None and "authorization" not in given:
            lines = serialize_field("Authorization", authorization)
        if "cookie" not in given:
            lines += self._serialize_cookies(url, now)
        return lines

    def _serialize_cookies(self, url: Url, now: float) -> bytes:
        """Serialize one Cookie field; the caller's cookies win over the jar's."""
        cookies = self._cookies
        if self._jar is not None:
            kept = self._jar.field_for(url.text, now, apart_from=self._names)
            cookies = "; ".join(filter(None, (cookies, kept)))
        return serialize_field("Cookie", cookies) if cookies else b""

    def forget(self, dropped: frozenset[str]) -> None:
        """Drop what must not be sent to another origin, by the names of its fields."""
        if "authorization" in dropped:
            self._authorization = self.digest = None
        if "cookie" in dropped:
            self._cookies, self._names = "", frozenset()

    def learn_cookies(self, url: Url, fields: list[str], now: float) -> None:
        """Store the cookies that a response sets."""
        if self._jar is not None:
            self._jar.store(url.text, fields, now)
