from blazeio_supervisor.fleet.actions import Spawn, StopMode, StopWorker
from tests.supervisor.fleet.driver import Driver, only


def test_one_slot_at_a_time_gets_a_successor() -> None:
    driver = Driver(slots=4).start()
    assert len(only(Spawn, driver.reload_until_rolling())) == 1


def test_old_worker_drains_only_when_its_successor_serves() -> None:
    driver = Driver(slots=2).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    assert only(StopWorker, driver.fork(successor.worker)) == []
    assert StopWorker(2, StopMode.DRAIN) in driver.get_ready(successor.worker)


def test_next_slot_does_not_wait_for_the_drain() -> None:
    driver = Driver(slots=3).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    actions = driver.serve(successor.worker)
    assert [spawn.slot for spawn in only(Spawn, actions)] == [2]


def test_successor_takes_over_when_the_owner_dies_first() -> None:
    driver = Driver(slots=2).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    driver.fork(successor.worker)
    assert only(Spawn, driver.exit(2, 1)) == []
    assert driver.owners[1] == successor.worker
