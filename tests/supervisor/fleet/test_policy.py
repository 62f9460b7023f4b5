import pytest
from msgspec.structs import fields

from blazeio_supervisor.fleet.policy import Policy

COUNTS = {
    "crash_loop_deaths",
    "worker_limit",
    "least_workers",
    "most_workers",
    "good_beats",
    "max_requests",
    "proof_request_count",
    "max_requests_jitter",
    "backoff_jitter",
    "renew_count",
    "renew_share",
    "rollback_5xx",
    "rollback_latency",
    "rollback_min_requests",
}
NAMES = {"ready", "steering"}


def test_every_field_is_documented() -> None:
    text = Policy.__doc__ or ""
    assert [f.name for f in fields(Policy) if f"{f.name}:" not in text] == []


def test_every_field_says_its_unit() -> None:
    endings = ("_s", "_bytes")
    rest = {f.name for f in fields(Policy) if not f.name.endswith(endings)}
    rest -= NAMES
    assert {name for name in rest if not name.startswith(("is_", "has_"))} == COUNTS


def test_it_cannot_be_changed() -> None:
    policy = Policy()
    with pytest.raises(AttributeError, match="immutable"):
        policy.grace_s = 1.0  # type: ignore[misc]


def test_either_measure_is_a_budget() -> None:
    assert not Policy().has_budget
    assert Policy(rollback_5xx=0.1).has_budget
    assert Policy(rollback_latency=2.0).has_budget


def test_ladder_goes_up() -> None:
    policy = Policy()
    rungs = [policy.beat_every_s, policy.steer_after_s, policy.adopt_after_s]
    rungs += [policy.dump_after_s, policy.timeout_s, policy.machine_timeout_s]
    assert rungs == sorted(rungs)
