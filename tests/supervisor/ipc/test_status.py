import msgspec

from blazeio_supervisor.ipc.control_api import SlotAnswer


def test_a_slot_of_an_earlier_version_can_be_read() -> None:
    octets = (
        b'{"slot":0,"is_parked":false,"adopted_by":null,"weight":100,"failures":1,'
        b'"retry_in_s":0.0,"requests":7}'
    )
    slot = msgspec.json.decode(octets, type=SlotAnswer)
    assert (slot.failures, slot.is_failing, slot.failed_s) == (1, False, None)
