import asyncio

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.request import find_request
from blazeio.errors import LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.app.asking import answer_of
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


async def test_a_request_that_is_given_is_given_back() -> None:
    async def ask(r: R) -> bool:
        return find_request(r) is r

    assert (await answer_of(ask)).text == "true"


async def test_the_handler_finds_its_request() -> None:
    async def deeper() -> R:
        return find_request()

    async def ask(r: R) -> list[bool]:
        return [find_request() is r, await deeper() is r]

    assert (await answer_of(ask)).text == "[true,true]"


async def test_a_task_that_begins_after_the_handler_asked_finds_it_too() -> None:
    async def child() -> R:
        return find_request()

    async def ask(r: R) -> bool:
        find_request()
        async with asyncio.TaskGroup() as group:
            task = group.create_task(child())
        return task.result() is r

    assert (await answer_of(ask)).text == "true"


async def test_a_task_that_begins_before_is_told_to_pass_r() -> None:
    async def child() -> str:
        with pytest.raises(LocalProtocolError) as caught:
            find_request()
        return str(caught.value)

    async def ask(r: R) -> str:
        return await asyncio.create_task(child())

    answer = await answer_of(ask)
    assert answer.text == '"no request is being handled here: pass r"'


async def test_no_request_is_found_where_none_is() -> None:
    with pytest.raises(LocalProtocolError, match="pass r"):
        find_request()


async def test_a_callback_of_the_loop_finds_none() -> None:
    told = asyncio.get_running_loop().create_future()

    def look() -> None:
        with pytest.raises(LocalProtocolError, match="pass r"):
            find_request()
        told.set_result(True)

    asyncio.get_running_loop().call_soon(look)
    assert await told


async def test_none_is_found_once_the_handler_is_over() -> None:
    seen: list[asyncio.Task[None]] = []
    done = asyncio.Event()

    async def child() -> None:
        await done.wait()
        with pytest.raises(LocalProtocolError, match="pass r"):
            find_request()

    async def ask(r: R) -> None:
        find_request()
        seen.append(asyncio.create_task(child()))

    await answer_of(ask)
    done.set()
    await seen[0]


async def test_middlewares_find_their_request() -> None:
    web = App()
    found: list[bool] = []

    @web.add_route
    async def before_middleware(r: R) -> None:
        found.append(find_request() is r)

    @web.add_route
    async def after_middleware(r: R) -> None:
        found.append(find_request() is r)

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "")

    async with served(web) as site:
        await site.get("/x")
    assert found == [True, True]


async def test_each_of_several_connections_finds_its_own() -> None:
    both_are_here = asyncio.Barrier(2)

    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        find_request()
        await both_are_here.wait()
        await Deliver.json(r, find_request() is r)

    async with served(web) as site:
        answers = await asyncio.gather(site.get("/x"), site.get("/x"))
    assert [answer.text for answer in answers] == ["true", "true"]


async def test_pipelined_requests_find_theirs() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, find_request().query)

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"".join(serialize_request("GET", f"/x?{n}") for n in range(3)))
        answers = [await peer.read_response() for _ in range(3)]
    assert [answer.text for answer in answers] == ["0", "1", "2"]


async def test_what_outlives_a_request_does_not_find_the_next_one() -> None:
    told: list[str] = []
    next_is_here = asyncio.Event()

    async def outlive() -> None:
        await next_is_here.wait()
        try:
            find_request()
        except LocalProtocolError as error:
            told.append(str(error))

    web = App()
    tasks: list[asyncio.Task[None]] = []

    @web.add_route
    async def _x(r: R) -> None:
        find_request()
        if tasks:
            next_is_here.set()
            await tasks[0]
        tasks.append(asyncio.create_task(outlive()))
        await Deliver.text(r, "")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x") * 2)
        await peer.read_response()
        await peer.read_response()
        await asyncio.gather(*tasks)
    assert told == ["no request is being handled here: pass r"] * 2
