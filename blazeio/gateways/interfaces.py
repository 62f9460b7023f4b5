"""Which interface an app object has, recognised before it is called.

An App of blazeio is told by its class, which is for the caller to look at. All else
is a callable, and told by what it has to be given:

=================================  =======================================
three positional arguments         ASGI 3: scope, receive, send
two positional arguments           WSGI: environ, start_response
none                               a factory: called, what it gives is looked at
one                                ASGI 2, refused
=================================  =======================================

A coroutine function, or an instance whose ``__call__`` is one, can only be ASGI 3.
"""

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from blazeio.errors import ConfigurationError

SCOPE_RECEIVE_SEND = 3
ENVIRON_START_RESPONSE = 2


class Interface(StrEnum):
    """How an app is called.

    Attributes:
        BLAZEIO: It is an ``App``.
        ASGI: ``await app(scope, receive, send)``.
        WSGI: ``app(environ, start_response)``.
        FACTORY: ``app()`` gives one of the three.
    """

    BLAZEIO = "blazeio"
    ASGI = "asgi"
    WSGI = "wsgi"
    FACTORY = "factory"


def recognise(found: object, name: str) -> Interface:
    """Tell the interface of what is no ``App``.

    Args:
        found: The object that was named.
        name: How the operator named it, for the message.

    Returns:
        ASGI, WSGI or FACTORY.

    Raises:
        ConfigurationError: It is none of them; the message says what to do.
    """
    if not callable(found):
        kind = type(found).__name__
        raise ConfigurationError(
            f"{name} is of type {kind!r}: expected an App, an ASGI or WSGI app, or a "
            "function that makes one"
        )
    is_async = _is_async(found)
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{name}: its arguments cannot be seen, so its interface is not known: say "
            "--interface asgi or wsgi"
        ) from None
    if is_async:
        return _recognise_async(signature, name)
    return _recognise_plain(found, signature, name)


def find_interface(found: object, name: str, told: str) -> Interface:
    """Tell the interface of what is no ``App``; or take the operator's word for it.

    Args:
        found: The object that was named.
        name: How the operator named it.
        told: ``asgi``, ``wsgi``; else it is recognised.

    Raises:
        ConfigurationError: As ``recognise``; or it cannot be called.
    """
    if told in ("auto", Interface.BLAZEIO):
        return recognise(found, name)
    if not callable(found):
        kind = type(found).__name__
        raise ConfigurationError(f"{name} is of type {kind!r}, and no {told} app")
    return Interface(told)


def _is_async(found: Callable[..., Any]) -> bool:
    """Tell whether a call of it returns a coroutine."""
    while isinstance(found, functools.partial):
        found = found.func
    # Its ``__init__`` is called, whatever ``__call__`` of its instances is.
    if inspect.isclass(found):
        return False  # it gives an instance
    call = getattr(type(found), "__call__", None)  # noqa: B004 - looked at, not asked
    return inspect.iscoroutinefunction(found) or inspect.iscoroutinefunction(call)


def _recognise_async(signature: inspect.Signature, name: str) -> Interface:
    if _takes(signature, SCOPE_RECEIVE_SEND):
        return Interface.ASGI
    if _count_required(signature) == 0:
        raise ConfigurationError(
            f"{name} is an async factory: a factory runs before there is an event "
            "loop, write it with `def`"
        )
    if _takes(signature, 2):
        _refuse_asgi2(name)
    raise ConfigurationError(
        f"{name} is async and takes {signature}: an ASGI app takes scope, receive and "
        "send"
    )


def _recognise_plain(
    found: Callable[..., Any], signature: inspect.Signature, name: str
) -> Interface:
    required = _count_required(signature)
    if required == SCOPE_RECEIVE_SEND:
        return Interface.ASGI  # a wrapper that gives the coroutine of what it wraps
    if required == ENVIRON_START_RESPONSE:
        return Interface.WSGI
    if required == 0 and _takes_any(signature):
        raise ConfigurationError(
            f"{name} takes any arguments, so its interface is not known: say "
            "--interface asgi or wsgi, or --factory"
        )
    if required == 0:
        return Interface.FACTORY
    if required == 1:
        _refuse_asgi2(name)
    raise ConfigurationError(
        f"{name} takes {signature}: an ASGI app takes scope, receive and send, a WSGI "
        "app environ and start_response, a factory nothing"
    )


def _refuse_asgi2(name: str) -> None:
    raise ConfigurationError(
        f"{name} looks like an app of ASGI 2, two callables: wrap it by "
        "asgiref.compatibility.guarantee_single_callable"
    )


def _count_required(signature: inspect.Signature) -> int:
    """How many arguments have no default, by position or by name alone."""
    counted = 0
    for each in signature.parameters.values():
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD):
            continue
        counted += each.default is each.empty
    return counted


def _takes(signature: inspect.Signature, count: int) -> bool:
    """Tell whether it can be called with this many positional arguments."""
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def _takes_any(signature: inspect.Signature) -> bool:
    kinds = {each.kind for each in signature.parameters.values()}
    return inspect.Parameter.VAR_POSITIONAL in kinds
