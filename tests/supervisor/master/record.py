"""Records a state of the present version.

python -m tests.supervisor.master.record
"""

import asyncio
import tempfile
from pathlib import Path

from blazeio_supervisor.master.upgrade.state import VERSION, dump_state
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from tests.supervisor.master.upgrade_bench import NO_IMAGE, RUN, Bench


async def record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.listeners.open(TcpAddress("127.0.0.1", 0))
        bench.listeners.open(UnixAddress(f"{folder}/a.sock"))
        bench.open()
        place = Path(__file__).with_name(f"state-{VERSION}.hex")
        octets, _ = dump_state(RUN, NO_IMAGE, bench.state)
        place.write_text(octets.hex() + "\n")
        bench.close()


if __name__ == "__main__":
    asyncio.run(record())
