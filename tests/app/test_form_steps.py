"""A form is decoded step by step: nobody waits for all of its fields."""

import asyncio

import blazeio as io
from tests.support.served import served

FIELD = (
    b"--b\r\n"
    + b"".join(b"X%d: a\r\n" % number for number in range(7))
    + b'Content-Disposition: form-data; name="a"\r\n\r\nx\r\n'
)
HEAD = (
    b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n"
    b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
)


async def test_the_loop_turns_between_the_fields_of_a_form() -> None:
    web = io.App()
    turns = 0
    found: list[int] = []

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    @web.route.post("/form")
    async def form(r: io.BlazeioServerProtocol) -> None:
        nonlocal turns
        await r.read()
        counting = asyncio.ensure_future(count_turns())
        await asyncio.sleep(0)
        before = turns
        data = await io.Request.form_data(r)
        found.append(turns - before)
        counting.cancel()
        r.reply(b"%d" % len(data.get_all("a")))

    content = FIELD * 900 + b"--b--\r\n"
    async with served(web) as site:
        peer = await site.connect()
        await peer.send(HEAD % len(content) + content)
        assert (await peer.read_response()).body == b"900"
        peer.close()
    assert found[0] >= len(content) // (8 * 1024) - 1
