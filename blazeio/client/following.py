"""What is asked after a response, for the same caller.

Where it redirects to, and once more where it wants to know who asks: what the
rules decide, kept count of for one request.

May import: blazeio.client.auth, blazeio.client.rules, blazeio.errors.
"""

from typing import TYPE_CHECKING

from msgspec import Struct

from blazeio.client.rules.digest import explain_refusal
from blazeio.client.rules.redirects import FOLLOWED, Redirect, decide_redirect
from blazeio.errors import InvalidResponse, RedirectError, TooManyRedirects

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from blazeio.client.asking import Asking
    from blazeio.client.auth import Identity
    from blazeio.client.requests.url import Url
    from blazeio.wire.serializer import FieldBlock

MOST_CHALLENGES = 2
"""Of one request: the first, and one that says that its answer came too late."""


class Start(Struct, frozen=True):
    """What was asked before any redirect; attributes as of the response."""

    method: str
    url: "Url"
    fields: "FieldBlock"
    body: "bytes | AsyncIterable[bytes | str] | None"
    extra_lines: bytes
    identity: "Identity | None"


class Follower(Struct):
    """Decides what one request goes on to ask.

    Attributes:
        redirects: How many are followed; 0: none, the response is the answer.
        allows_downgrade: From https to http, too.
        identity: May answer challenges; else they are the answer.
    """

    redirects: int = 0
    allows_downgrade: bool = False
    identity: "Identity | None" = None
    _followed: int = 0
    _answered: int = 0

    def renewed(self, identity: "Identity | None") -> "Follower":
        """Return the same for a request that is made anew, with its full count."""
        return Follower(self.redirects, self.allows_downgrade, identity)

    def decide(self, resp: "Asking") -> Redirect | None:
        """Decide what is asked after a response; None: it is the answer.

        Raises:
            RedirectError: It redirects to where nobody should follow.
            TooManyRedirects: Each has led to another.
            InvalidResponse: Its Digest challenge cannot be answered.
        """
        if resp.status_code == 401:
            return self._answer_challenge(resp)
        if not self.redirects:
            return None
        locations = set(resp.headers.get_all("location"))
        if len(locations) > 1 and resp.status_code in FOLLOWED:
            raise RedirectError(f"{resp.url}: more than one Location")
        redirect = decide_redirect(
            resp.status_code,
            next(iter(locations), None),
            resp.method,
            resp.url.text,
            can_replay=resp.can_repeat,
            allows_downgrade=self.allows_downgrade,
        )
        if redirect is not None:
            self._followed += 1
            if self._followed > self.redirects:
                message = f"{resp.url}: more than {self.redirects} redirects"
                raise TooManyRedirects(message)
        return redirect

    def _answer_challenge(self, resp: "Asking") -> Redirect | None:
        """Ask the same again, where its challenge can be answered."""
        self._answered += 1
        # Asked each time: it is gone once another origin is asked.
        digest = None if self.identity is None else self.identity.digest
        if digest is None or self._answered > MOST_CHALLENGES:
            return None
        fields = resp.headers.get_all("www-authenticate")
        if not resp.can_repeat:
            return None
        if not digest.learn(resp.url.origin, fields):
            reason = explain_refusal(fields)
            if reason is not None:
                raise InvalidResponse(f"{resp.url}: {reason}")
            return None
        return Redirect(resp.method, resp.url.text, True, frozenset())
