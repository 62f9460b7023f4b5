import msgspec

from blazeio_supervisor.ipc.control_api import Progress, ReloadAnswer, StopAnswer


def test_the_two_kinds_of_line_of_a_reload_are_told_apart() -> None:
    progress = Progress(step="rolling", generation=2, replaced=1, slots=2)
    ended = ReloadAnswer(is_over=True, is_ok=True)
    kinds = Progress | ReloadAnswer
    for line in (progress, ended):
        assert msgspec.json.decode(msgspec.json.encode(line), type=kinds) == line


def test_a_later_version_may_add_fields() -> None:
    octets = b'{"pid":1,"later":true}'
    assert msgspec.json.decode(octets, type=StopAnswer).pid == 1
