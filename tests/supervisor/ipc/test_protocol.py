"""Which protocol a process speaks follows from what it shares with others."""

import os
import sys
from importlib.metadata import version
from typing import Annotated, Any, Literal, get_args

import msgspec
import pytest
from msgspec import Meta, Struct, defstruct

from blazeio.app.metric_series import MetricFamily
from blazeio_supervisor.ipc import messages, row_tables, scoreboard, signals
from blazeio_supervisor.ipc import protocol as module
from blazeio_supervisor.ipc.messages import Message, TaskInfo
from blazeio_supervisor.ipc.processes import Identity
from blazeio_supervisor.ipc.protocol import (
    PROTOCOL_BYTES,
    describe_skew,
    describe_struct,
    find_protocol,
    list_shapes,
)
from blazeio_supervisor.ipc.status_api import Profiled, ProfileWish, Sampled
from blazeio_supervisor.log.formats import LogConfig
from tests.support.live import run_to_exit


class EachForm(Struct, array_like=True, tag="form"):
    number: int = 1
    text: str | None = None
    either: "bytes | str" = ""
    word: Literal["a", "b"] = "a"
    parts: tuple[tuple[str, int], ...] = ()
    table: dict[str, Any] = {}
    some: Annotated[list[float], Meta(max_length=3)] = []
    share: Annotated[float, Meta(ge=0, lt=1)] | None = None
    name: Annotated[str, Meta(pattern="^x")] = msgspec.field(default="", name="n")
    other: TaskInfo | None = None


def test_the_text_of_a_shape_is_the_same_in_every_python() -> None:
    assert describe_struct(EachForm) == (
        "EachForm form array(number: int, text: NoneType | str, either: bytes | str,"
        " word: one of ('a', 'b'), parts: tuple[tuple[str, int], Ellipsis],"
        " table: dict[str, Any], some: list[float] max_length=3,"
        " share: NoneType | float ge=0 lt=1, n: str pattern='^x',"
        " other: NoneType | TaskInfo)"
    )


def make_shape(*fields: Any, **options: Any) -> str:
    return describe_struct(defstruct("Shape", fields, **options))


@pytest.mark.parametrize(
    "changed",
    [
        make_shape(("count", int), ("text", str), ("later", bool)),
        make_shape(("count", int)),
        make_shape(("number", int), ("text", str)),
        make_shape(("count", int | None), ("text", str)),
        make_shape(("count", Annotated[int, Meta(ge=0)]), ("text", str)),
        make_shape(("count", int), ("text", Literal["a"])),
        make_shape(("text", str), ("count", int), array_like=True),
        make_shape(("count", int), ("text", str), tag=True),
        make_shape(("count", int), ("text", str), rename="upper"),
    ],
)
def test_a_changed_field_is_another_shape(changed: str) -> None:
    assert changed != make_shape(("count", int), ("text", str))


def test_a_default_value_and_a_text_for_readers_are_no_part_of_the_shape() -> None:
    described = {"__doc__": "What it is."}
    other = make_shape(("count", int, 7), namespace=described)
    assert other == make_shape(("count", int))


SHARED = [
    *get_args(Message),
    *(messages.ListenerInfo, messages.Overrides, messages.GatewayConfig),
    *(messages.Additions, Identity, TaskInfo, LogConfig),
    *(ProfileWish, Sampled, Profiled),
    *(scoreboard.ThreadLoad, row_tables.SeriesPlace, MetricFamily),
]


@pytest.mark.parametrize("kind", SHARED, ids=lambda kind: kind.__name__)
def test_what_processes_share_is_counted(kind: type[Struct]) -> None:
    assert describe_struct(kind) in list_shapes()


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (scoreboard, "_RESTS", 60),
        (scoreboard, "_THREAD_CELLS", range(10, 13)),
        (scoreboard, "LAG_EDGES_S", (1.0, 2.0)),
        (row_tables, "ROUTE_TEXT_BYTES", 152),
        (signals, "STACK_SIGNAL", signals.PROFILE_SIGNAL),
        (messages, "CHANNEL_CLOSED", 71),
        (messages, "Later", EachForm),
        (module, "MEANING", module.MEANING + 1),
    ],
)
def test_a_changed_place_or_number_is_another_protocol(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, value: object
) -> None:
    find_anew = find_protocol.__wrapped__
    assert find_anew() == find_protocol()
    monkeypatch.setattr(place, name, value, raising=name != "Later")
    assert find_anew() != find_protocol()


def test_the_same_source_is_the_same_protocol() -> None:
    """Whatever order the sets of a process have."""
    code = f"import {module.__name__} as p; print(p.find_protocol())"
    for seed in "12":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        done = run_to_exit([sys.executable, "-c", code], env=env)
        assert done.stdout.strip() == find_protocol(), done.stderr


def test_there_is_room_for_it_in_the_first_datagram() -> None:
    assert len(find_protocol()) == 8 <= PROTOCOL_BYTES


def test_the_own_protocol_is_served() -> None:
    assert describe_skew(find_protocol()) is None


@pytest.mark.parametrize("other", ["36", "0123abcd", ""])
def test_another_one_is_told_from_the_own_in_one_line(other: str) -> None:
    installed = version("blazeio-supervisor")
    assert describe_skew(other) == (
        f"the installed blazeio ({installed}, protocol {find_protocol()}) differs "
        f"from the running master's (protocol {other}): restart the service to use it"
    )
