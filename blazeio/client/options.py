"""What may be given by name, for type checkers and editors.

``Session`` says what each one means, and its signature what it is by default.

May import: what the types of the options are.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any, TypedDict

from blazeio.client.auth import Auth
from blazeio.client.requests.body import Body
from blazeio.client.requests.multipart import Files
from blazeio.client.rules.cookie_jar import CookieJar
from blazeio.client.settings import ClientTls, PoolLimits, Timeouts
from blazeio.content.forms.urlencoded import FormInput
from blazeio.errors import FieldInput
from blazeio.limits import Limits
from blazeio.wire.headers import Headers


class _Both(TypedDict, total=False):
    headers: FieldInput | Headers | None
    auth: Auth | None
    timeouts: Timeouts | None


class _OneRequest(TypedDict, total=False):
    body: Body | None
    json: Any
    form: FormInput | None
    files: Files | None
    params: FormInput | None
    cookies: Mapping[str, str] | None
    expect_continue: bool
    upgrade: str | None


class RequestOptions(_Both, _OneRequest, total=False):
    """Of a request of a pool; None: as the session has it."""

    compress: bool | None
    allow_trailing_octets: bool | None
    follow_redirects: bool | None
    max_redirects: int | None
    retries: int | None


class _PoolFurther(TypedDict, total=False):
    auth: Auth | None
    timeouts: Timeouts | None
    compress: bool
    allow_trailing_octets: bool
    cookie_jar: CookieJar | None
    follow_redirects: bool
    max_redirects: int
    retries: int
    allow_downgrade: bool
    limits: Limits | None
    pool: PoolLimits | None
    tls: ClientTls | None
    unix: str | PathLike[str] | None
    proxy: str | None
    base_url: str | None
    trust_env: bool


class PoolOptions(_PoolFurther, total=False):
    """Of a session without a URL."""

    headers: FieldInput | Headers | None


class SingleOptions(PoolOptions, _OneRequest, total=False):
    """Of a session with a URL: both, since it is its only request."""


class SingleFurther(_PoolFurther, _OneRequest, total=False):
    """The same without ``headers``, which may be given by position."""
