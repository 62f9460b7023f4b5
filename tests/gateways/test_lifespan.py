import asyncio
import logging
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.gateways.asgi import Lifespan, LifespanFailed, LifespanMode

AUTO, ON, OFF = LifespanMode


class App:
    """Does what is told to each of the messages, and keeps what it has seen."""

    def __init__(self, *sent: dict[str, Any], ends: bool = False) -> None:
        self.sent = sent
        self.ends = ends
        self.seen: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        scope["state"]["pool"] = "open"
        for message in self.sent:
            self.seen.append((await receive())["type"])
            await send(message)
        if not self.ends:
            await receive()


STARTED = {"type": "lifespan.startup.complete"}
STOPPED = {"type": "lifespan.shutdown.complete"}


async def test_startup_and_shutdown_come_once_each() -> None:
    """ASGI Lifespan section "Startup" and "Shutdown"."""
    app = App(STARTED, STOPPED, ends=True)
    lifespan = Lifespan(app, AUTO)
    await lifespan.start()
    assert lifespan.is_supported
    assert lifespan.state == {"pool": "open"}
    assert app.seen == ["lifespan.startup"]
    await lifespan.stop()
    assert app.seen == ["lifespan.startup", "lifespan.shutdown"]
    await lifespan.stop()


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("http only")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    return


async def cancels_itself(scope: Any, receive: Any, send: Any) -> None:
    raise asyncio.CancelledError


async def exits(scope: Any, receive: Any, send: Any) -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("app", [refuses, returns, cancels_itself, exits])
async def test_an_app_without_one_is_served_all_the_same(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    lifespan = Lifespan(app, AUTO)
    await lifespan.start()
    assert not lifespan.is_supported
    await lifespan.stop()
    assert not caplog.records


async def test_what_is_raised_in_the_place_of_a_lifespan_is_mentioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "blazeio"):
        await Lifespan(refuses, AUTO).start()
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        "the app takes no part in the lifespan: AssertionError: http only"
    )


async def test_an_app_that_raises_when_it_is_to_start_is_served_and_that_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise OSError("no database")

    await Lifespan(app, AUTO).start()
    (record,) = caplog.records
    assert record.getMessage() == (
        "the app has not started, and is served: OSError: no database"
    )
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("app", "error"),
    [(refuses, AssertionError), (returns, LifespanFailed), (exits, SystemExit)],
)
async def test_an_app_without_one_does_not_start_where_one_is_demanded(
    app: Any, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        await Lifespan(app, ON).start()


async def test_nothing_is_asked_where_it_is_off() -> None:
    app = App(STARTED)
    lifespan = Lifespan(app, OFF)
    await lifespan.start()
    await lifespan.stop()
    assert app.seen == []


async def test_a_failed_startup_has_the_apps_message_and_what_it_raised() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        message = "Traceback ...\nOSError: no database"
        await send({"type": "lifespan.startup.failed", "message": message})
        raise OSError("no database")

    with pytest.raises(LifespanFailed, match="startup has failed: OSError: no") as info:
        await Lifespan(app, AUTO).start()
    assert info.value.message.startswith("Traceback")
    assert isinstance(info.value.__cause__, OSError)


async def test_an_exception_after_the_start_is_logged_and_the_app_served_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(STARTED)
        raise ValueError("afterwards")

    lifespan = Lifespan(app, AUTO)
    with caplog.at_level(logging.ERROR):
        await lifespan.start()
        await lifespan.stop()
    assert [record.getMessage() for record in caplog.records] == [
        "the lifespan of the app has ended: ValueError: afterwards"
    ]
    assert caplog.records[0].exc_info is not None
    trace = caplog.records[0].exc_info[2]
    assert trace is not None
    assert trace.tb_frame.f_code.co_name == "app"


async def test_a_failed_shutdown_is_told() -> None:
    app = App(STARTED, {"type": "lifespan.shutdown.failed", "message": "x"}, ends=True)
    lifespan = Lifespan(app, AUTO)
    await lifespan.start()
    with pytest.raises(LifespanFailed, match="shutdown has failed: x"):
        await lifespan.stop()


async def test_an_exception_at_the_shutdown_is_told() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send(STARTED)
        await receive()
        raise ValueError("at the end")

    lifespan = Lifespan(app, AUTO)
    await lifespan.start()
    with pytest.raises(ValueError, match="at the end"):
        await lifespan.stop()


async def test_a_stop_that_takes_too_long_cancels_the_app() -> None:
    is_cancelled = False

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal is_cancelled
        await receive()
        await send(STARTED)
        await receive()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            is_cancelled = True
            raise

    lifespan = Lifespan(app, AUTO)
    await lifespan.start()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await lifespan.stop()
    await asyncio.sleep(0)
    assert is_cancelled


@pytest.mark.parametrize(
    "messages",
    [
        [STOPPED],
        [STARTED, STARTED],
        [{"type": "http.response.start"}],
        [{"type": "lifespan.startup.failed", "message": b"x"}],
    ],
)
async def test_a_message_out_of_order_is_an_error_in_the_app(
    messages: list[dict[str, Any]],
) -> None:
    caught: list[BaseException] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            for message in messages:
                await send(message)
        except LocalProtocolError as error:
            caught.append(error)

    await Lifespan(app, AUTO).start()
    await asyncio.sleep(0)
    assert len(caught) == 1


async def test_a_start_that_is_cancelled_cancels_the_app() -> None:
    ends: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        try:
            await asyncio.sleep(3600)
        finally:
            ends.append("cleaned up")

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Lifespan(app, AUTO).start()
    assert ends == ["cleaned up"]
