from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import Action, Probe
from blazeio_supervisor.fleet.facts import Answered, ParkAsked, WorkerExited
from tests.supervisor.fleet.driver import Driver, only

WATCHDOG_S = 8.0
PAUSE_S = 2.0


def start(slots: int = 2) -> Driver:
    driver = Driver(slots, watchdog_s=WATCHDOG_S).start()
    driver.notices.clear()
    return driver


def serve_requests(driver: Driver, worker: int, count: int) -> None:
    beat = driver.ready[worker]
    driver.ready[worker] = replace(beat, requests=beat.requests + count)


def feeds(driver: Driver) -> int:
    return sum(notice.is_alive for notice in driver.notices)


def probed(actions: list[Action]) -> list[int]:
    return [probe.worker for probe in only(Probe, actions)]


def test_without_a_watchdog_nobody_is_asked() -> None:
    driver = Driver(2).start()
    assert probed(driver.wait(100)) == []
    assert feeds(driver) == 0


def test_requests_feed_it_four_times_in_its_span() -> None:
    driver = start()
    for _ in range(80):
        serve_requests(driver, 1, 1)
        assert probed(driver.wait(0.1)) == []
    assert feeds(driver) == 4


def test_without_requests_every_worker_is_asked_and_an_answer_feeds_it() -> None:
    driver = start()
    assert probed(driver.wait(PAUSE_S + 0.1)) == [1, 2]
    assert feeds(driver) == 0
    driver.tell(Answered(2))
    assert feeds(driver) == 1


def test_silence_starves_it() -> None:
    driver = start()
    assert probed(driver.wait(WATCHDOG_S - 0.1)) == [1, 2] * 3
    assert feeds(driver) == 0


def test_one_request_feeds_it_once() -> None:
    driver = start()
    serve_requests(driver, 1, 1)
    driver.wait(3 * PAUSE_S)
    assert feeds(driver) == 1


def test_who_is_gone_or_unknown_proves_nothing() -> None:
    driver = start()
    driver.wait(PAUSE_S + 0.1)
    driver.tell(Answered(99), WorkerExited(1, -9), Answered(1))
    assert feeds(driver) == 0


def test_a_parked_service_needs_no_proof() -> None:
    driver = start()
    driver.tell(ParkAsked())
    driver.exit(1)
    driver.exit(2)
    driver.notices.clear()
    assert probed(driver.wait(WATCHDOG_S)) == []
    assert feeds(driver) >= 3
