"""The parts of a master that answer on a control socket, and verbs that ask."""

import asyncio

from click.testing import CliRunner, Result

from blazeio_supervisor.cli.verbs import verbs
from tests.supervisor.cli.control_harness import ControlServerHarness


class VerbHarness(ControlServerHarness):
    async def run(self, *words: str) -> Result:
        """A verb, as from a shell."""
        arguments = [*words, "--control", self.place.text]
        return await asyncio.to_thread(invoke, *arguments)


def invoke(*words: str) -> Result:
    return CliRunner().invoke(verbs, words, standalone_mode=False)
