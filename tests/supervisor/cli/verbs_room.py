"""A desk that answers, and verbs that ask it."""

import asyncio

from click.testing import CliRunner, Result

from blazeio_supervisor.cli.verbs import verbs
from tests.supervisor.cli.room import Room


class VerbRoom(Room):
    async def run(self, *words: str) -> Result:
        """A verb, as from a shell."""
        arguments = [*words, "--control", self.place.text]
        return await asyncio.to_thread(invoke, *arguments)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(verbs, words, standalone_mode=False)
