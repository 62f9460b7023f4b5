"""Challenges of Digest authentication, and the answers to them: RFC 7616.

A server that asks by Digest sends one or more challenges in WWW-Authenticate fields
(RFC 9110 section 11.6.1). The best one that is known here is taken, and answered in
the Authorization field by hashes of the name, the password and the request. Nothing
is remembered here, and nothing is drawn by chance: see ``auth.DigestAuth``.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote as percent_encode

from msgspec import Struct

from blazeio.wire.grammar import TCHAR, quote

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
_ORDER: Final = {name: rank for rank, name in enumerate(_HASHES)}
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
        return _ORDER[_plain(self.algorithm)]

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
    if any(isinstance(each, DigestChallenge) for each in challenges):
        return None
    reasons = [each for each in challenges if isinstance(each, str)]
    return (
        f"a Digest challenge that cannot be answered: {reasons[0]}" if reasons else None
    )


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
