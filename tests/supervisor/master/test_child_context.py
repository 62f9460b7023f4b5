import asyncio
import os

from blazeio_supervisor.ipc.channel import ChildChannel, send
from blazeio_supervisor.ipc.messages import FromWorker, Message, Ready
from blazeio_supervisor.ipc.packing import parse_from_worker
from blazeio_supervisor.ipc.signals import make_child_pair
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, Reaper
from tests.support.clock import wait_until


async def test_a_child_is_heard_until_its_channel_ends_which_says_nothing() -> None:
    loop = asyncio.get_running_loop()
    child_context = ChildContext(
        loop=loop,
        reaper=Reaper(loop),
        put_fact=lambda _: None,
        need_address=lambda *_: None,
        note_scheme=lambda *_, **__: None,
        frames=FramesPrinter(),
    )
    own, theirs = make_child_pair()
    heard: list[Message] = []
    faults: list[str] = []
    channel = ChildChannel[FromWorker](own)
    child_context.listen(
        channel,
        parse_from_worker,
        lambda message, _: heard.append(message),
        faults.append,
        lambda: faults.append("closed"),
        os.getpid,
    )
    send(theirs, Ready())
    theirs.close()
    await wait_until(lambda: heard)
    assert heard == [Ready()]
    assert not faults
    channel.close()
