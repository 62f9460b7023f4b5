"""The route table finds what a plain search of all routes would find."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from blazeio.app.endpoints import REST, Parameter, Pattern, parse_pattern
from blazeio.app.router import RouteTable
from blazeio.errors import ConfigurationError

PARTS = ("a", "7", "", "{%s}", "{%s:int}", "{%s:float}", "{%s:path}")
METHODS = ("GET", "PUT", None)
SEGMENTS = st.sampled_from(("a", "b", "7", "-7", "1.5", ""))


async def handler(r: Any) -> None: ...


@st.composite
def declared(draw: st.DrawFn) -> tuple[str, str | None]:
    """A path and a method; a parameter is called by its place."""
    parts = draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=4))
    named = [part % f"p{at}" if "%" in part else part for at, part in enumerate(parts)]
    return "/" + "/".join(named), draw(st.sampled_from(METHODS))


def values_of(pattern: Pattern, segments: list[str]) -> list[Any] | None:
    """The value or None of each part, where the pattern has this path."""
    values: list[Any] = []
    for at, part in enumerate(pattern.segments):
        if isinstance(part, Parameter) and part.converter is REST:
            return [*values, "/".join(segments[at:])] if at < len(segments) else None
        if at == len(segments):
            return None
        if isinstance(part, str):
            if part != segments[at]:
                return None
            continue
        values.append(part.converter.convert(segments[at]))
        if values[-1] is None:
            return None
    return values if len(pattern.segments) == len(segments) else None


def rank_of(pattern: Pattern) -> tuple[Any, ...]:
    """Exact ones first; then by segment, from the left."""
    return bool(pattern.names), *pattern.ranks


def serves(method: str | None, wanted: str) -> bool:
    return method in (None, wanted) or (method, wanted) == ("GET", "HEAD")


@given(
    routes=st.lists(declared(), max_size=8),
    segments=st.lists(SEGMENTS, min_size=1, max_size=5),
    method=st.sampled_from(("GET", "HEAD", "PUT", "POST")),
    is_reversed=st.booleans(),
)
def test_the_most_particular_route_is_found_in_whatever_order_they_were_added(
    routes: list[tuple[str, str | None]],
    segments: list[str],
    method: str,
    *,
    is_reversed: bool,
) -> None:
    added = []
    table = RouteTable()
    for path, one in routes:
        try:
            table.add(handler, path, one)
        except ConfigurationError:
            continue  # it collides, or has what follows a path
        added.append((path, one))
    if is_reversed:
        table = RouteTable()
        for path, one in reversed(added):
            table.add(handler, path, one)
    found = table.match(method, "/" + "/".join(segments))
    candidates = [
        (rank_of(pattern), pattern.names, values)
        for path, one in added
        if serves(one, method)
        for pattern in [parse_pattern(path)]
        if (values := values_of(pattern, segments)) is not None
    ]
    if found is None:
        assert candidates == []
        return
    rank, names, values = min(candidates)
    route, params = found
    assert rank_of(route.pattern) == rank
    assert params == dict(zip(names, values, strict=True))
