from typing import Any

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.renewal import (
    RENEWAL,
    read_health_path,
    read_limits,
)
from blazeio_supervisor.settings import WorkerLimits

NONE = {str(option.name): None for option in RENEWAL.options}
MIB = 1024 * 1024


def read(**given: Any) -> WorkerLimits:
    return read_limits({**NONE, **given})


def test_by_default_nothing_is_limited() -> None:
    assert read() == WorkerLimits()


def test_the_jitter_is_a_tenth_unless_it_is_said() -> None:
    limits = read(max_requests=1000, max_lifetime=60.0)
    assert limits.max_requests_jitter == 100
    assert limits.max_lifetime_jitter_s == 6.0
    limits = read(max_requests=9, max_requests_jitter=0, max_lifetime_jitter=None)
    assert (limits.max_requests, limits.max_requests_jitter) == (9, 0)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 * MIB),
        ("1g", 1024 * MIB),
        ("1GiB", 1024 * MIB),
        ("2000KB", 2048000),
        ("1048576", MIB),
    ],
)
def test_sizes_are_units_of_1024(text: str, size: int) -> None:
    assert read(max_memory=text).max_memory_bytes == size


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_requests": 0}, "--max-requests 0: expected 1 or more"),
        ({"max_lifetime": 0.5}, "--max-lifetime 0.5: expected at least 1 second"),
        ({"max_lifetime": float("nan")}, "--max-lifetime nan: expected"),
        ({"max_requests_jitter": 5}, "no effect without --max-requests"),
        ({"max_lifetime_jitter": 5.0}, "no effect without --max-lifetime"),
        (
            {"max_requests": 5, "max_requests_jitter": -1},
            "--max-requests-jitter -1: expected 0 or more",
        ),
        ({"max_memory": "much"}, "--max-memory much: expected a size such as 512M"),
        ({"max_memory": "512"}, "--max-memory 512: expected 1M or more"),
        ({"max_memory": "1.5G"}, "--max-memory 1.5G: expected a size"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read(**given)


@pytest.mark.parametrize("path", ["", "/", "/health", "/a/b?c=%20"])
def test_a_health_path_is_the_target_of_a_request(path: str) -> None:
    assert read_health_path(path) == path


@pytest.mark.parametrize("path", ["health", "/a b", "/a\r\nb", "http://a/", "/ä", "/#"])
def test_another_health_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="expected a path such as /health"):
        read_health_path(path)
