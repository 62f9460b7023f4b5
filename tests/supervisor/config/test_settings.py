import pytest

from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.config.http import WorkerLimits
from blazeio_supervisor.config.processes import Process
from blazeio_supervisor.config.settings import SECTIONS, Settings, list_all_options
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress

TCP = TcpAddress("127.0.0.1", 80)
UNIX = UnixAddress("/run/s")


def test_it_is_made_of_all_sections() -> None:
    assert set(Settings.__bases__) == set(SECTIONS)
    fields = {option.field for option in list_all_options()}
    assert {"app", "workers", "binds", "certfile", "max_in_flight"} <= fields
    assert SECTIONS[0] is Process
    assert WorkerLimits in SECTIONS


@pytest.mark.parametrize(
    ("binds", "is_shared"),
    [((UNIX,), True), ((TCP,), False), ((TCP, UNIX), False), ((), False)],
)
def test_the_planner_learns_whether_there_is_anything_to_steer(
    binds: tuple[TcpAddress | UnixAddress, ...], is_shared: bool
) -> None:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=2,
        binds=binds,
        folder="/",
        graceful_timeout_s=7.0,
        timeout_s=9.0,
    )
    policy = settings.make_policy()
    assert policy.is_shared_listener is is_shared
    assert (policy.grace_s, policy.timeout_s) == (7.0, 9.0)
    assert not policy.has_health_check
    assert (policy.steering, policy.drain_delay_s) == ("load", 0.0)


def test_the_planner_learns_when_workers_are_replaced() -> None:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=2,
        binds=(TCP,),
        folder="/",
        health_path="/up",
        rollout_timeout_s=9.0,
        max_requests=1,
        max_requests_jitter=2,
        max_lifetime_s=3.0,
        max_lifetime_jitter_s=4.0,
        max_memory_bytes=5,
    )
    policy = settings.make_policy()
    assert policy.has_health_check
    assert policy.rollout_timeout_s == 9.0
    assert (policy.max_requests, policy.max_requests_jitter) == (1, 2)
    assert (policy.max_lifetime_s, policy.max_lifetime_jitter_s) == (3.0, 4.0)
    assert policy.max_memory_bytes == 5
