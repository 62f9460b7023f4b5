import asyncio
from pathlib import Path

from blazeio_supervisor.config.live_settings import SettingsInForce
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.master.components import Crew, hire
from tests.supervisor.typed import look_for_sources


def make_crew(folder: Path, loop: asyncio.AbstractEventLoop) -> Crew:
    in_force = SettingsInForce(look_for_sources("app:web", folder=folder))
    return hire(in_force, None, loop, 0.0)


def test_nothing_begins_by_it(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        crew = make_crew(tmp_path, runner.get_loop())
        assert not crew.parts.listeners.is_bound
        crew.inbox.tell(ScaleAsked(change=1))
        runner.run(asyncio.sleep(0))
        assert not crew.inbox.is_settled  # nobody takes turns yet
