import msgspec
import pytest

from blazeio_supervisor.ipc.control_api import SettingAnswer


@pytest.mark.parametrize("value", [None, 4, 1.5, "a", ["a", "b"], True])
def test_a_value_is_of_any_kind_that_a_file_has(value: object) -> None:
    setting = SettingAnswer(key="workers", value=value, origin="default")
    octets = msgspec.json.encode(setting)
    assert msgspec.json.decode(octets, type=SettingAnswer) == setting
