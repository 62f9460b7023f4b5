"""``io.Session.get(url)``: a verb asked of the class is a session with one request.

A property of the metaclass goes before the method of the same name where the class is
asked, and is not seen where a session is: that costs the latter nothing.
"""

from collections.abc import Callable
from typing import Any


def _verb(method: str) -> property:
    def make(session: Any) -> Callable[..., Any]:
        def ask(url: Any, headers: Any = None, **options: Any) -> Any:
            """Make a session with this one request, to be entered."""
            return session(url, method, headers, **options)

        ask.__name__ = ask.__qualname__ = method
        return ask

    return property(make)


class SessionType(type):
    """The type of ``Session``: its verbs, asked of the class."""

    get = _verb("get")
    head = _verb("head")
    post = _verb("post")
    put = _verb("put")
    patch = _verb("patch")
    delete = _verb("delete")
    options = _verb("options")
