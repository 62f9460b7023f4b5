"""``config --sample``: a file with every setting, which sets nothing but APP."""

import re
import tomllib
from pathlib import Path

from msgspec import UNSET

from blazeio_supervisor.config.environment import find_environment
from blazeio_supervisor.config.settings import OPTIONS, Sources, write_sample

SAMPLE = write_sample()
VALUE = re.compile(r' = (\d+|"\w+"|true|false)$')
LINE = re.compile(r"^# (\w+ = .+)$", re.MULTILINE)


def test_it_sets_nothing_but_the_app() -> None:
    assert tomllib.loads(SAMPLE) == {"app": "app:web"}


def test_every_setting_is_in_it_once() -> None:
    keys = re.findall(r"^(?:# )?(\w+) = ", SAMPLE, re.MULTILINE)
    assert sorted(keys) == sorted(option.key for option in OPTIONS)


def test_each_default_is_what_the_setting_is_without_the_file(tmp_path: Path) -> None:
    told = [line for line in LINE.findall(SAMPLE) if VALUE.search(line)]
    plain = {line.split(" = ")[0] for line in told} - {"env"}
    told = [line for line in told if line.split(" = ")[0] in plain]
    assert len(told) > 40
    (tmp_path / "sample.toml").write_text("\n".join(['app = "app:web"', *told]))
    words = {"config": str(tmp_path / "sample.toml")}
    read = Sources(words, {}, find_environment()).read()
    without = Sources(
        {"app": "app:web", "no_config": True}, {}, find_environment()
    ).read()
    for option in OPTIONS:
        ours, theirs = read.given[option.field], without.given[option.field]
        if option.key in plain and theirs.value not in (None, UNSET):
            assert ours.value == theirs.value, option.key
