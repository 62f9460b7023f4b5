"""``Session``: requests of a client, and the connections that they share."""

import os
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar, Unpack, cast, overload

from blazeio.client.attempts import RequestTracer
from blazeio.client.auth import Auth, check_auth
from blazeio.client.context import ClientContext
from blazeio.client.cookies import CookieJar
from blazeio.client.pool import MOST_RETRIES, PoolLimits
from blazeio.client.request import MOST_REDIRECTS
from blazeio.client.response import ClientResponse
from blazeio.client.settings import (
    ClientTls,
    PoolOptions,
    RequestOptions,
    SingleFurther,
    SingleOptions,
    Timeouts,
    check_arguments,
    check_retries,
    refuse_unknown,
)
from blazeio.client.url import (
    ProxyRules,
    Url,
    parse_proxy,
    parse_url,
    read_proxy_rules,
    show_url,
)
from blazeio.errors import (
    ConfigurationError,
    FieldInput,
    LocalProtocolError,
    SessionClosed,
)
from blazeio.limits import Limits
from blazeio.wire.headers import Headers

# ``io.Session.get(url)``: on the class, a method of HTTP makes a session with one
# request.
#
# A property of the metaclass is found before the method of the same name where the
# class is asked, and is not seen where a session is asked: that costs a session
# nothing.


def _verb(method: str) -> property:
    def make(session: Any) -> Callable[..., Any]:
        def ask(url: Any, headers: Any = None, **options: Any) -> Any:
            """Make a session with one request; enter it to send the request."""
            return session(url, method, headers, **options)

        ask.__name__ = ask.__qualname__ = method
        return ask

    return property(make)


class SessionType(type):
    """The type of ``Session``, for ``io.Session.get(url)`` and so on."""

    get = _verb("get")
    head = _verb("head")
    post = _verb("post")
    put = _verb("put")
    patch = _verb("patch")
    delete = _verb("delete")
    options = _verb("options")


_Entered = TypeVar("_Entered")
_OF_REQUEST = frozenset(SingleOptions.__annotations__)


class Session(Generic[_Entered], metaclass=SessionType):
    """Requests to servers, and the connections they share.

    With a URL it is one request on a connection of its own; without one it is a pool of
    connections, for any number of requests.

    ::

        async with io.Session("http://example.com/") as resp:
            print(resp.status_code, await resp.text())

        async with io.Session() as session:
            async with session.get("http://example.com/") as resp:
                ...

    The block may be left out: ``session = io.Session()``, and at the end ``await
    session.aclose()``.

    A session belongs to the loop that it was entered on, or first used on. All
    arguments of a request but its URL are given by name.

    Args:
        url: ``http://`` or ``https://``; None: a pool.
        method: The method of the one request; usual ones in any case.
        headers: The fields of the one request, or of each request of the pool.
        body: Octets, text, an async iterable of both, a path or an open file; ``json``:
            a value that is sent as JSON; ``form``: names and values, urlencoded, or
            with ``files`` as multipart/form-data. Only one of them.
        params: Names and values that are added to the URL's query.
        expect_continue: Wait for ``100 Continue`` before the content is sent.
        upgrade: A protocol to change to; after a 101 ``pull`` gives octets as they are,
            and ``writer`` sends them.
        compress: Ask for encoded content. ``aread``, ``text`` and ``json`` decode it;
            ``pull`` gives it as it comes.
        allow_trailing_octets: Octets after the end of encoded content (gzip, deflate,
            zstd) are dropped; by default they are an error, unless they are zeros.
        auth: Name and password, for Basic; or a ``DigestAuth``. A request of a pool may
            have its own.
        cookies: Names and values, sent with the one request.
        cookie_jar: Keeps the cookies that servers set, and sends them back; None: no
            cookies are kept.
        follow_redirects: Follow redirects as browsers do; ``resp.history`` has the
            earlier responses. A request may override it.
        max_redirects: How many of them; then TooManyRedirects.
        retries: 1: a request that may be repeated is sent once more where the server
            closes before its response is whole; 0: never. A request may override it.
        allow_downgrade: Follow redirects from https to http, too.
        timeouts: See ``Timeouts``; a request of a pool may have its own.
        limits: Bounds of heads, content and buffers; see ``Limits``.
        pool: Bounds of the connections; see ``PoolLimits``.
        tls: The settings of https; see ``ClientTls``.
        unix: The path of a socket that is connected to, instead of the URL's host.
        proxy: ``http://user:password@host:3128``; ``https://`` where the proxy itself
            is reached over TLS; ``socks5://`` (names are resolved here) or
            ``socks5h://`` (by the proxy), which need the extra ``socks``.
        base_url: Put before each URL that is not absolute: ``https://host/v1`` and
            ``/users`` are ``https://host/v1/users``.
        tracing: Makes a span of each request: ``io.Tracing()``. None: no traces.
        trust_env: Where there is no ``proxy``, take it from the environment:
            http_proxy, HTTPS_PROXY, ALL_PROXY, NO_PROXY.

    Raises:
        ConfigurationError: An argument of one request was given without a URL; or a
            proxy's URL is wrong.
        InvalidArgument: An argument is of a wrong type; it is a TypeError, too.
    """

    @overload
    def __init__(
        self: "Session[ClientResponse]",
        url: str | Url,
        method: str = "get",
        headers: FieldInput | Headers | None = None,
        **options: Unpack[SingleFurther],
    ) -> None: ...
    @overload
    def __init__(
        self: "Session[Session[Any]]",
        url: None = None,
        **options: Unpack[PoolOptions],
    ) -> None: ...
    def __init__(
        self,
        url: str | Url | None = None,
        method: str = "get",
        headers: FieldInput | Headers | None = None,
        *,
        compress: bool = False,
        allow_trailing_octets: bool = False,
        auth: Auth | None = None,
        cookie_jar: CookieJar | None = None,
        follow_redirects: bool = False,
        max_redirects: int = MOST_REDIRECTS,
        retries: int = MOST_RETRIES,
        allow_downgrade: bool = False,
        timeouts: Timeouts | None = None,
        limits: Limits | None = None,
        pool: PoolLimits | None = None,
        tls: ClientTls | None = None,
        unix: str | os.PathLike[str] | None = None,
        proxy: str | None = None,
        base_url: str | None = None,
        trust_env: bool = False,
        tracing: RequestTracer | None = None,
        **of_request: Any,
    ) -> None:
        if unknown := [name for name in of_request if name not in _OF_REQUEST]:
            refuse_unknown(unknown)
        if url is None and of_request:
            names = ", ".join(of_request)
            message = f"Session without a URL: {names} is of a request, not of a pool"
            raise ConfigurationError(message)
        check_auth(auth)
        check_arguments(
            method=method,
            cookie_jar=cookie_jar,
            max_redirects=max_redirects,
            timeouts=timeouts,
            limits=limits,
            pool=pool,
            tls=tls,
            unix=unix,
            proxy=proxy,
            base_url=base_url,
        )
        self._url = url
        self._method = method
        self._of_request = {**of_request, "headers": headers}
        self._shared = ClientContext(
            limits=limits or Limits(),
            timeouts=timeouts or Timeouts(),
            pool_limits=pool or PoolLimits(),
            tls=tls or ClientTls(),
            unix=None if unix is None else os.fspath(unix),
            proxies=_choose_proxies(proxy, trust_env=trust_env),
            fields=headers if url is None else None,
            compress=compress,
            allow_trailing_octets=allow_trailing_octets,
            cookies=cookie_jar,
            auth=auth,
            follow_redirects=follow_redirects,
            max_redirects=max_redirects,
            retries=check_retries(retries),
            allow_downgrade=allow_downgrade,
            base_url=None if base_url is None else _check_base(base_url),
            tracing=tracing,
        )
        self._context: ClientContext | None = None  # once it is in use
        self._is_entered = False
        self._response: ClientResponse | None = None

    def __repr__(self) -> str:
        told = "not entered" if self._context is None else repr(self._context.pool)
        where = "" if self._url is None else f"{show_url(str(self._url))} "
        return f"<Session {where}{told}>"

    async def __aenter__(self) -> _Entered:
        """Bind the session to the running loop; with a URL, send the request.

        Returns:
            The session; with a URL, the response.

        Raises:
            RequestError: The request came to nothing; the kind says why.
            LocalProtocolError: The caller's fault: HTTP cannot say this.
        """
        if self._is_entered:
            raise SessionClosed("a session is entered once")
        self._is_entered = True
        if self._context is None:
            self._begin()
        if self._url is None:
            return cast(_Entered, self)
        try:
            response = self._response = self.request(
                self._method, self._url, **self._of_request
            )
            return cast(_Entered, await response.__aenter__())
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        if self._response is not None:
            await self._response.close()
        await self.close()

    def _begin(self) -> ClientContext:
        """Bind the session to the running loop: at the block, or at the first request.

        Raises:
            LocalProtocolError: The caller's fault: no loop is running.
            SessionClosed: Likewise: it was closed before anything was sent.
        """
        if self._shared.is_closed:
            raise SessionClosed("the session was closed")
        try:
            self._shared.begin()
        except RuntimeError as error:
            message = "a session is used where an event loop runs: in a coroutine"
            raise LocalProtocolError(message) from error
        self._context = self._shared
        return self._shared

    def __del__(self) -> None:
        """Warn of a session with open connections that nobody has closed."""
        context = getattr(self, "_context", None)
        if context is not None and not context.is_closed and context.pool.has_open:
            message = f"{self!r} was not closed: `await session.aclose()`"
            warnings.warn(message, ResourceWarning, stacklevel=2, source=self)

    async def aclose(self) -> None:
        """Close all connections, as the end of the block does; may be repeated."""
        await self.close()

    async def close(self) -> None:
        """Close all connections; requests under way get SessionClosed.

        May be repeated. The block does it; without a block, the caller has to.
        """
        context = self._context
        if context is None:
            self._shared.is_closed = True
        elif not context.is_closed:
            await context.close()

    @classmethod
    async def fetch(
        cls,
        url: str | Url,
        method: str = "get",
        headers: FieldInput | Headers | None = None,
        **options: Unpack[SingleFurther],
    ) -> Any:
        """Send one request, and return the content: ``await io.Session.fetch(url)``.

        Returns:
            As ``resp.data()``: the value of JSON, else text.

        Raises:
            RequestError: It came to nothing; the kind says why.
            LocalProtocolError: The caller's fault: HTTP cannot say this.
        """
        async with Session(url, method, headers, **options) as resp:
            return await resp.data()

    # Requests of a pool

    def request(
        self, method: str, url: str | Url, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Make a request; send it by ``async with`` or ``await``.

        Args:
            method: Usual ones in any case.
            url: ``http://`` or ``https://``.
            options: ``headers``, ``body``, ``json``, ``form``, ``files``, ``params``,
                ``compress``, ``allow_trailing_octets``, ``auth``, ``cookies``,
                ``follow_redirects``, ``max_redirects``, ``retries``, ``timeouts``,
                ``expect_continue``, ``upgrade``; see ``Session``.

        Raises:
            InvalidUrl: The caller's fault.
            LocalProtocolError: Likewise: HTTP cannot say this.
            SessionClosed: Likewise: it was closed.
        """
        return (self._context or self._begin()).ask(method, url, **options)

    def get(self, url: str | Url, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Make a GET; see ``request``."""
        # Hot: runs once per request.
        context = self._context or self._begin()
        if options or not context.is_plain:
            return context.ask("GET", url, **options)
        return context.ask_plainly(url)

    def head(self, url: str | Url, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Make a HEAD; see ``request``."""
        return self.request("HEAD", url, **options)

    def post(self, url: str | Url, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Make a POST; see ``request``."""
        return self.request("POST", url, **options)

    def put(self, url: str | Url, **options: Unpack[RequestOptions]) -> ClientResponse:
        """Make a PUT; see ``request``."""
        return self.request("PUT", url, **options)

    def patch(
        self, url: str | Url, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Make a PATCH; see ``request``."""
        return self.request("PATCH", url, **options)

    def delete(
        self, url: str | Url, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Make a DELETE; see ``request``."""
        return self.request("DELETE", url, **options)

    def options(
        self, url: str | Url, **options: Unpack[RequestOptions]
    ) -> ClientResponse:
        """Make an OPTIONS; see ``request``."""
        return self.request("OPTIONS", url, **options)


def _check_base(url: str) -> str:
    """Return a base URL after checking it.

    Raises:
        InvalidUrl: The caller's fault: it is no URL.
        ConfigurationError: Likewise: it has a query or a fragment.
    """
    parse_url(url)
    if "?" in url or "#" in url:
        message = f"base_url {show_url(url)!r}: it has a query or a fragment"
        raise ConfigurationError(message)
    return url.strip()


def _choose_proxies(proxy: str | None, *, trust_env: bool) -> ProxyRules:
    """Return the rules by which a request chooses its proxy.

    Args:
        proxy: Used for all requests; None: nothing was set.
        trust_env: Then read the environment.

    Raises:
        ConfigurationError: It is no URL of a proxy, or a variable holds none.
    """
    if proxy is not None:
        everywhere = parse_proxy(proxy)
        return ProxyRules({"http": everywhere, "https": everywhere})
    return read_proxy_rules(os.environ if trust_env else {})
