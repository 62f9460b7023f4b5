import functools
from typing import Any

import pytest

from blazeio.errors import ConfigurationError
from blazeio.gateways.interfaces import Interface, recognise


async def asgi(scope: Any, receive: Any, send: Any) -> None: ...
def wsgi(environ: Any, start_response: Any) -> list[bytes]: ...  # type: ignore[empty-body]
def factory() -> Any: ...
def factory_with_defaults(config: Any = None, debug: bool = False) -> Any: ...
async def async_factory() -> Any: ...
def asgi2(scope: Any) -> Any: ...
def four(a: Any, b: Any, c: Any, d: Any) -> Any: ...
def any_arguments(*args: Any) -> Any: ...
async def async_any(*args: Any) -> Any: ...
async def async_one(scope: Any) -> Any: ...
async def asgi_with_more(scope: Any, receive: Any, send: Any, more: int = 0) -> Any: ...
async def configured(config: Any, scope: Any, receive: Any, send: Any) -> Any: ...


def wrapper(scope: Any, receive: Any, send: Any) -> Any:
    return asgi(scope, receive, send)


@functools.wraps(wsgi)
def wrapped_wsgi(*args: Any, **named: Any) -> Any:
    return wsgi(*args, **named)


class AsgiInstance:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...

    async def method(self, scope: Any, receive: Any, send: Any) -> None: ...


class WsgiInstance:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...


class Asgi2Class:
    def __init__(self, scope: Any) -> None: ...

    async def __call__(self, receive: Any, send: Any) -> None: ...


class Makes:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("found", "interface"),
    [
        (asgi, Interface.ASGI),
        (asgi_with_more, Interface.ASGI),
        (async_any, Interface.ASGI),
        (AsgiInstance(), Interface.ASGI),
        (AsgiInstance().method, Interface.ASGI),
        (functools.partial(configured, {}), Interface.ASGI),
        (functools.partial(functools.partial(configured), {}), Interface.ASGI),
        (functools.partial(AsgiInstance()), Interface.ASGI),
        (wrapper, Interface.ASGI),
        (wsgi, Interface.WSGI),
        (wrapped_wsgi, Interface.WSGI),
        (WsgiInstance(), Interface.WSGI),
        (WsgiClass, Interface.WSGI),
        (functools.partial(wsgi), Interface.WSGI),
        (factory, Interface.FACTORY),
        (factory_with_defaults, Interface.FACTORY),
        (Makes, Interface.FACTORY),
        (functools.partial(asgi2, {}), Interface.FACTORY),
    ],
)
def test_the_interface_is_told_by_the_arguments(
    found: object, interface: Interface
) -> None:
    assert recognise(found, "main:app") is interface


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (asgi2, "main:app looks like an app of ASGI 2.*asgiref.compatibility"),
        (Asgi2Class, "ASGI 2.*asgiref.compatibility"),
        (Asgi2Class({}), "ASGI 2.*asgiref.compatibility"),
        (async_factory, "async factory.*write it with `def`"),
        (async_one, "an ASGI app takes scope, receive and send"),
        (four, "takes .*an ASGI app takes"),
        (any_arguments, "say --interface asgi or wsgi, or --factory"),
        (7, "main:app is of type 'int': expected an App"),
        (type, "cannot be seen|takes any"),
    ],
)
def test_what_is_none_is_refused_with_what_to_do(found: object, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        recognise(found, "main:app")
    assert "\n" not in str(caught.value)
