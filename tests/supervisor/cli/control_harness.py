"""The parts of a master that answer on their control socket."""

import asyncio
from pathlib import Path

import msgspec

from blazeio_supervisor.ipc.control_api import (
    ErrorAnswer,
)
from blazeio_supervisor.master.control_server import ControlServer
from tests.supervisor.cli.master_harness import MasterHarness
from tests.support.peer import RawPeer
from tests.support.response import Response
from tests.support.served import serialize_request


class ControlServerHarness(MasterHarness):
    """The parts of a master, which answer on their socket."""

    def __init__(self, folder: Path, slots: int = 2, control: str = "c.sock") -> None:
        super().__init__(folder, slots, control)
        self.server = ControlServer(self.service)
        self.server.open(asyncio.get_running_loop())

    async def connect(self) -> RawPeer:
        return await RawPeer.connect(self.place.address)

    async def ask(self, method: str, path: str, order: object = None) -> Response:
        content = None if order is None else msgspec.json.encode(order)
        async with await self.connect() as peer:
            await peer.send(serialize_request(method, path, content))
            return await peer.read_response(method=method)

    async def refusal(self, method: str, path: str, order: object = None) -> str:
        answer = await self.ask(method, path, order)
        error = msgspec.json.decode(answer.body, type=ErrorAnswer).error
        return f"{answer.status} {error}"
