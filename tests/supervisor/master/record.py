"""Records a state of the present version.

python -m tests.supervisor.master.record
"""

import asyncio
import tempfile
from pathlib import Path

from blazeio_supervisor.master.components import STATE_VERSION, dump_state
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.master.upgrade_harness import NO_IMAGE, RUN, UpgradeHarness


async def record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        harness = UpgradeHarness(Path(folder))
        harness.listeners.open(TcpAddress("127.0.0.1", 0))
        harness.listeners.open(UnixAddress(f"{folder}/a.sock"))
        harness.open()
        place = Path(__file__).with_name(f"state-{STATE_VERSION}.hex")
        octets, _ = dump_state(RUN, NO_IMAGE, harness.state)
        place.write_text(octets.hex() + "\n")
        harness.close()


if __name__ == "__main__":
    asyncio.run(record())
