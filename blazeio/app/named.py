"""Records whose fields are given by name, at the front door. Pure.

May import: blazeio.errors.
"""

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from blazeio.errors import ConfigurationError

RecordT = TypeVar("RecordT")


def make_named(kind: type[RecordT], given: Mapping[str, object], whose: str) -> RecordT:
    """Make a record of what was given by name; what was not has its default.

    Args:
        kind: A dataclass.
        given: Its fields.
        whose: Names it to who gave them, ``App(...) has no limit named``.

    Raises:
        ConfigurationError: There is no such field, or it cannot be.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            raise ConfigurationError(f"{whose} {name!r}; {hint}")
    return kind(**given)


_MIDDLEWARE = (
    "@web.middleware above async def NAME(r, call_next), or @web.add_route above "
    "async def before_middleware(r)"
)
_ELSEWHERE = {
    **dict.fromkeys(
        ("delete", "get", "head", "options", "patch", "post", "put"), "web.route.{}"
    ),
    **dict.fromkeys(("websocket", "ws"), "io.WebSocket(r) in a handler"),
    **dict.fromkeys(("add_middleware", "before_request", "use"), _MIDDLEWARE),
    **dict.fromkeys(
        ("add_exception_handler", "errorhandler", "exception_handler", "exception"),
        "@web.on_error(404), or a class of exceptions",
    ),
    **dict.fromkeys(("after_request",), "async def after_middleware(r)"),
    **dict.fromkeys(("include_router", "register_blueprint"), "web.mount(prefix, app)"),
    **dict.fromkeys(("static", "mount_static"), "web.add_static(prefix, folder)"),
    **dict.fromkeys(("listen", "run_app", "serve", "start"), "web.runner()"),
    **dict.fromkeys(("add_api_route", "add_url_rule"), "web.add_route(handler, path)"),
    **dict.fromkeys(("on_event", "on_startup", "startup"), "web.on_start"),
    **dict.fromkeys(("on_cleanup", "on_shutdown", "shutdown"), "web.on_stop"),
}
"""What other frameworks have, and what it is called here."""


def describe_missing(kind: str, name: str) -> str:
    """Say that there is no such attribute, and what it is called here.

    Args:
        kind: Of the object.
        name: What it has not.
    """
    ours = _ELSEWHERE.get(name)
    hint = "" if ours is None else f"; write {ours.format(name)}"
    return f"{kind!r} object has no attribute {name!r}{hint}"
