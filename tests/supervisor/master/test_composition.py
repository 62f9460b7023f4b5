import asyncio
from pathlib import Path

from blazeio_supervisor.config.live_settings import LiveSettings
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.master.components import Components, build_master
from blazeio_supervisor.master.upgrade.state import MasterState
from tests.supervisor.typed import look_for_sources


def make_crew(folder: Path, loop: asyncio.AbstractEventLoop) -> Components:
    live = LiveSettings.read(look_for_sources("app:web", folder=folder))
    return build_master(MasterState.begin(live, 0.0), None, loop)


def test_nothing_begins_by_it(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        components = make_crew(tmp_path, runner.get_loop())
        assert not components.state.listeners.is_bound
        components.facts.tell(ScaleAsked(change=1))
        runner.run(asyncio.sleep(0))
        assert not components.facts.is_settled  # nobody takes turns yet
