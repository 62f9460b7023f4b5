from blazeio.client import exchange
from blazeio.client.exchange import PHASES


def test_each_phase_is_called_by_its_name() -> None:
    assert [getattr(exchange, name) for name in PHASES] == list(range(len(PHASES)))
