from blazeio.protocol.stages import phases


def test_each_phase_has_its_name() -> None:
    for number, name in enumerate(phases.NAMES):
        assert getattr(phases, name) == number
