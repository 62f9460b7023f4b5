"""What adds several things to an app adds none of them where one is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.dispatch import Middlewares
from blazeio.app.endpoints import parse_prefix
from blazeio.app.route import Scope
from blazeio.app.router import RouteTable
from blazeio.errors import ConfigurationError


async def one(r: Any) -> None: ...
async def two(r: Any) -> None: ...
async def asgi(scope: Any, receive: Any, send: Any) -> None: ...
async def nothing() -> None: ...


def scope(prefix: str, name: str = "") -> Scope:
    return Scope(parse_prefix(prefix), Middlewares(), name=name)


def look(table: RouteTable) -> dict[str, Any]:
    """All that requests can see of a table."""
    paths = ("/api/a", "/api/b", "/api/x", "/api/7", "/api", "/api/f/g", "/a", "/b")
    methods = ("GET", "POST", "BREW")
    return {
        "found": [table.find(method, path) for method in methods for path in paths],
        "allowed": [table.methods_of(path) for path in paths],
        "count": len(table),
        "by method": {name: dict(paths) for name, paths in table.by_method.items()},
        "any": dict(table.any_method),
        "scopes": list(table.scopes),
    }


@pytest.mark.parametrize("path", ["/api/b", "/api/{y:int}", "/api/f/{rest:path}"])
def test_a_mount_adds_no_route_where_one_collides(path: str) -> None:
    table, inner = RouteTable(), RouteTable()
    table.add(one, path, None)
    before = look(table)
    for each in ("/a", "/{x}", "/b", "/{n:int}", "/f/{all:path}", "/z"):
        inner.add(two, each, ["GET", "POST"])
    with pytest.raises(ConfigurationError, match="collides with"):
        table.mount(scope("/api"), inner)
    assert look(table) == before
    inner.add(two, "/later", None)
    assert table.find("GET", "/api/later") is None


def test_a_mount_adds_no_route_where_a_parameter_is_there_twice() -> None:
    table, inner = RouteTable(), RouteTable()
    inner.add(two, "/a", None)
    inner.add(two, "/{id}", None)
    before = look(table)
    with pytest.raises(ConfigurationError, match="two parameters of one name"):
        table.mount(scope("/{id}"), inner)
    assert look(table) == before


def test_a_mount_adds_no_route_where_a_name_is_taken() -> None:
    table, inner = RouteTable(), RouteTable()
    table.add(one, "/x", None, name="api.b")
    inner.add(two, "/a", None, name="a")
    inner.add(two, "/b", None, name="b")
    before = look(table)
    with pytest.raises(ConfigurationError, match=r"'api\.b' is the name"):
        table.mount(scope("/api", "api"), inner)
    assert look(table) == before


def test_a_mount_adds_no_route_where_one_collides_further_out() -> None:
    outer, table, inner = RouteTable(), RouteTable(), RouteTable()
    outer.add(one, "/api/f/g", None)
    outer.mount(scope("/api"), table)
    inner.add(two, "/a", None)
    inner.add(two, "/g", None)
    before = look(outer), look(table)
    with pytest.raises(ConfigurationError, match="collides with"):
        table.mount(scope("/f"), inner)
    assert (look(outer), look(table)) == before


def test_a_route_that_collides_further_out_is_not_added_within() -> None:
    table, inner = RouteTable(), RouteTable()
    table.add(one, "/api/b", None)
    table.mount(scope("/api"), inner)
    before = look(table), look(inner)
    with pytest.raises(ConfigurationError, match="collides with"):
        inner.add(two, "/b", None)
    assert (look(table), look(inner)) == before


def test_a_route_of_a_table_that_is_mounted_twice_collides_with_itself() -> None:
    table, inner = RouteTable(), RouteTable()
    table.mount(scope("/api"), inner)
    table.mount(scope("/other"), inner)
    before = look(table), look(inner)
    with pytest.raises(ConfigurationError, match="is the name of"):
        inner.add(two, "/b", None, name="b")
    assert (look(table), look(inner)) == before


def test_a_class_adds_neither_routes_nor_middlewares_where_one_collides() -> None:
    class Site:
        async def _a(self, r: Any) -> None: ...
        async def _b(self, r: Any) -> None: ...
        async def before_middleware(self, r: Any) -> None: ...

    web = App()
    web.add_route(one, "/b")
    before = look(web.routes)
    with pytest.raises(ConfigurationError, match="collides with"):
        web.attach(Site)
    assert look(web.routes) == before
    assert web._middlewares.before == []


def test_a_class_whose_middleware_comes_too_late_adds_no_routes() -> None:
    class Site:
        async def _a(self, r: Any) -> None: ...
        async def before_middleware(self, r: Any) -> None: ...

    web = App()
    assert web.dispatch is not None
    with pytest.raises(ConfigurationError, match="too late"):
        web.attach(Site)
    assert len(web.routes) == 0


def mount_files(web: App, tmp_path: Path) -> None:
    web.add_static("/api", tmp_path)


def mount_asgi(web: App, tmp_path: Path) -> None:
    web.mount("/api", asgi)


@pytest.mark.parametrize("mount", [mount_files, mount_asgi])
@pytest.mark.parametrize("path", ["/api", "/api/{x:path}"])
def test_what_has_two_routes_adds_none_where_one_collides(
    tmp_path: Path, path: str, mount: Callable[[App, Path], None]
) -> None:
    web = App()
    web.add_route(one, path)
    before = look(web.routes)
    with pytest.raises(ConfigurationError, match="collides with"):
        mount(web, tmp_path)
    assert look(web.routes) == before


def declare_metric(web: App) -> None:
    web.metrics.counter("orders_total")


def declare_task(web: App) -> None:
    web.add_task(nothing, once=True, name="nightly")


@pytest.mark.parametrize("declare", [declare_metric, declare_task])
def test_an_app_is_not_mounted_where_its_hooks_are_refused(
    declare: Callable[[App], None],
) -> None:
    web, inner = App(), App()
    inner.add_route(two, "/a")
    inner.metrics.counter("first_total")
    inner.add_task(nothing, once=True, name="first")
    declare(web)
    declare(inner)
    before = look(web.routes)
    with pytest.raises(ConfigurationError, match=r"is there already|declared twice"):
        web.mount("/api", inner)
    assert look(web.routes) == before
    assert [each.name for each in inner.once_tasks.tasks][:1] == ["first"]
    web.metrics.counter("first_total")  # it was not taken over
    inner.metrics.gauge("later")
