"""A desk that answers, and verbs that ask it."""

import asyncio
from pathlib import Path

from click.testing import CliRunner, Result

from blazeio_supervisor.control.server import ControlServer
from blazeio_supervisor.control.verbs.program import verbs
from tests.supervisor.control.desk import Desk


class Room(Desk):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.server = ControlServer(self.service)
        self.server.open(asyncio.get_running_loop())

    async def run(self, *words: str) -> Result:
        """A verb, as from a shell."""
        arguments = [*words, "--control", self.place.text]
        return await asyncio.to_thread(invoke, *arguments)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(verbs, words, standalone_mode=False)
