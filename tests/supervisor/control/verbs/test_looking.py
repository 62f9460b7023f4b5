import msgspec

from blazeio_supervisor.control.answers import StatusAnswer
from tests.supervisor.control.verbs.room import VerbRoom


async def test_status_is_a_table_or_json(room: VerbRoom) -> None:
    assert "slot" in (await room.run("status")).output
    said = await room.run("status", "--json")
    assert len(msgspec.json.decode(said.output, type=StatusAnswer).workers) == 2
