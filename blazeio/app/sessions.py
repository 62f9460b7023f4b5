"""``CookieSessions``: what an app remembers of a user, in a signed cookie.

The extra ``sessions`` brings itsdangerous, which signs.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from typing import Any, NoReturn

from blazeio.app.dispatch import CallNext
from blazeio.content.cookies import SameSite, find_cookie, serialize_set_cookie
from blazeio.errors import ConfigurationError, FieldInput, LocalProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.request import BlazeioServerProtocol

log = get_logger("blazeio.app")

MAX_AGE_S = 14 * 24 * 3600
"""How long a session lasts after its last renewal, seconds."""

COOKIE_BYTES = 4096
"""Bound of name and value; browsers silently drop larger cookies (RFC 6265 section
6.1)."""

SECRET_CHARACTERS = 16
"""A shorter secret can be guessed."""


class _Open:
    """The session of one request.

    Attributes:
        values: The present values.
        text: The values as JSON, as they were read.
        told: The JSON when the head was composed; before that as it was read.
        signed_at: When the cookie was written, Unix time; 0: there is none.
    """

    __slots__ = ("signed_at", "text", "told", "values")

    def __init__(self, values: dict[str, Any], text: str, signed_at: float) -> None:
        self.values = values
        self.text = self.told = text
        self.signed_at = signed_at


class _Slot:
    """Holds the session of a request, once it was asked for."""

    __slots__ = ("is_told", "opened")

    def __init__(self) -> None:
        self.opened: _Open | None = None
        self.is_told = False  # the head was sent, with the cookie


class CookieSessions:
    """A middleware, and the sessions of the requests that it is around.

    ::

        sessions = io.CookieSessions(os.environ["SESSION_SECRET"])
        web.middleware(sessions)

        async def login(r):
            sessions.of(r)["user"] = name

    The values are signed, not secret: whoever has the cookie can read them, and cannot
    change them. Nothing is stored on the server: a copied cookie is valid until it is
    too old. A changed session is sent with the head of the response, so it must be
    changed before that.

    Args:
        secrets: One, or several: the first one signs, and cookies signed by any of them
            are read, so that a new secret can be put before an old one. Each has at
            least 16 random characters: ``secrets.token_urlsafe()``.
        cookie: The name of the cookie.
        max_age_s: How long a session lasts, seconds; one in use is renewed at half of
            it.
        path: Where the browser sends it.
        domain: Also sent to the hosts below this one; None: this host only.
        secure: Sent over HTTPS only; browsers treat http://localhost as such, other
            clients do not.
        same_site: ``Lax``: not sent where another site posts to this one.

    Raises:
        ConfigurationError: A secret is too short, there is none, the cookie cannot be
            written, or itsdangerous is not installed.
    """

    def __init__(
        self,
        secrets: str | Sequence[str],
        *,
        cookie: str = "session",
        max_age_s: int = MAX_AGE_S,
        path: str = "/",
        domain: str | None = None,
        secure: bool = True,
        same_site: SameSite = "Lax",
    ) -> None:
        try:
            import itsdangerous
        except ImportError:
            message = "CookieSessions needs itsdangerous: pip install itsdangerous"
            raise ConfigurationError(message) from None
        listed = [secrets] if isinstance(secrets, str) else [*secrets]
        _check_secrets(listed)
        if not isinstance(max_age_s, int) or max_age_s <= 0:
            message = f"CookieSessions(max_age_s={max_age_s!r:.80}): expected seconds"
            raise ConfigurationError(message)
        self._signer = itsdangerous.TimestampSigner(
            listed[::-1],  # itsdangerous signs with the last one
            # The name of the cookie is part of the key: a value that was signed for one
            # cookie is not valid in another one of the same secret.
            salt=f"blazeio.session.{cookie}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )
        self._bad = itsdangerous.BadSignature
        self._encode = itsdangerous.base64_encode
        self._decode = itsdangerous.base64_decode
        self._cookie = cookie
        self._max_age_s = max_age_s
        self._attributes: dict[str, Any] = {
            "path": path,
            "domain": domain,
            "secure": secure,
            "same_site": same_site,
        }
        self._open: dict[BlazeioServerProtocol, _Slot] = {}
        try:
            # Written once for nothing: a name or a domain that no cookie can have is
            # told when the app starts, and not at the first login.
            self._write("", 0)
        except LocalProtocolError as error:
            raise ConfigurationError(f"CookieSessions: {error}") from None

    async def __call__(self, r: BlazeioServerProtocol, call_next: CallNext) -> None:
        """Prepare ``of`` for the request; send what was changed."""
        slot = self._open[r] = _Slot()
        r.on_head(
            lambda status: self._fields(slot)
        )  # also for an error outside of this middleware
        try:
            await call_next(r)
            _warn_of_unsent_change(r, slot)
        finally:
            del self._open[r]

    def of(self, r: BlazeioServerProtocol) -> dict[str, Any]:
        """Return the values of the request's user; change them in place.

        They are JSON values. They are empty without a cookie, and where the cookie is
        too old or not signed by us. ``clear()`` ends the session: the cookie is
        deleted.

        Raises:
            LocalProtocolError: The caller's fault: the middleware is not around this
                request.
        """
        slot = self._open.get(r)
        if slot is None:
            message = "sessions.of(r): add the sessions first, web.middleware(sessions)"
            raise LocalProtocolError(message)
        if slot.opened is None:
            slot.opened = self._read(r)
        return slot.opened.values

    def _read(self, r: BlazeioServerProtocol) -> _Open:
        value = find_cookie(r.headers.get("cookie", ""), self._cookie)
        if not value or len(value) > COOKIE_BYTES:
            return _Open({}, "{}", 0)
        try:
            signed, at = self._signer.unsign(
                value, max_age=self._max_age_s, return_timestamp=True
            )
            text = self._decode(signed).decode()
            values = json.loads(text)
        except (self._bad, ValueError, RecursionError):
            return _Open({}, "{}", 1)  # an invalid cookie is deleted
        if not isinstance(values, dict):
            return _Open({}, "{}", 1)
        return _Open(values, text, at.timestamp())

    def _fields(self, slot: "_Slot") -> FieldInput | None:
        found = slot.opened
        slot.is_told = True
        if found is None:
            return None  # the session was not used
        text = found.told = _dump(found.values)
        # Renewed at half of its time, and not with each response: a page with twenty
        # requests would set twenty cookies.
        is_old = time.time() - found.signed_at > self._max_age_s / 2
        fields = [
            ("Vary", "Cookie")
        ]  # the session was used: the response may depend on it
        if not found.values:
            if found.signed_at:
                fields.append(("Set-Cookie", self._write("", 0)))
        elif text != found.text or is_old:
            value = self._signer.sign(self._encode(text.encode())).decode()
            fields.append(("Set-Cookie", self._write(value, self._max_age_s)))
        return fields

    def _write(self, value: str, max_age_s: int) -> str:
        size = len(self._cookie) + len(value)
        if size > COOKIE_BYTES:
            message = (
                f"the session is {size} octets as a cookie, browsers take "
                f"{COOKIE_BYTES}: keep an id in it, and the rest in a database"
            )
            raise LocalProtocolError(message)
        return serialize_set_cookie(
            self._cookie, value, max_age=max_age_s, **self._attributes
        )


def _warn_of_unsent_change(r: BlazeioServerProtocol, slot: _Slot) -> None:
    found = slot.opened
    if not slot.is_told or found is None:
        return
    try:
        is_lost = _dump(found.values) != found.told
    except LocalProtocolError:
        is_lost = True
    if is_lost:
        why = "the session was changed after the head of the response, and is lost"
        log.warning("%s %s: %s: change it before", r.method, r.tail, why)


def _dump(values: dict[str, Any]) -> str:
    try:
        return json.dumps(values, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        message = f"the session holds what is not JSON: {error}"
        raise LocalProtocolError(message) from error


def _check_secrets(secrets: Sequence[object]) -> None:
    if not secrets:
        _refuse_secrets("there is no secret")
    for each in secrets:
        if not isinstance(each, str) or len(each) < SECRET_CHARACTERS:
            _refuse_secrets(f"a secret has less than {SECRET_CHARACTERS} characters")


def _refuse_secrets(why: str) -> NoReturn:
    way_out = "python -c 'import secrets; print(secrets.token_urlsafe())' makes one"
    raise ConfigurationError(f"CookieSessions: {why}; {way_out}")
