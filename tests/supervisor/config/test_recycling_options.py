import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings

MIB = 1024 * 1024


def test_by_default_nothing_is_limited() -> None:
    settings = read_settings()
    assert settings.max_requests is settings.max_lifetime_s is None
    assert settings.max_memory_bytes is None


def test_the_jitter_is_a_tenth_unless_it_is_said() -> None:
    policy = read_settings("--max-requests=1000", "--max-lifetime=60").make_policy()
    assert policy.max_requests_jitter == 100
    assert policy.max_lifetime_jitter_s == 6.0
    none = read_settings("--max-requests=9", "--max-requests-jitter=0").make_policy()
    assert (none.max_requests, none.max_requests_jitter) == (9, 0)


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
    assert read_settings("--max-memory", text).max_memory_bytes == size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-requests=0"], "--max-requests 0: expected a whole number, 1 or more"),
        (["--max-lifetime=0.5"], "--max-lifetime 0.5: expected seconds, 1 or more"),
        (["--max-lifetime=nan"], "--max-lifetime nan: expected"),
        (["--max-requests-jitter=5"], "no effect without --max-requests"),
        (["--max-lifetime-jitter=5"], "no effect without --max-lifetime"),
        (
            ["--max-requests=5", "--max-requests-jitter=-1"],
            "--max-requests-jitter -1: expected a whole number, 0 or more",
        ),
        (["--max-memory=much"], "--max-memory much: expected a size such as 64K"),
        (["--max-memory=512"], "--max-memory 512: .*, 1M or more"),
        (["--max-memory=1.5G"], "--max-memory 1.5G: expected a size"),
    ],
)
def test_what_makes_no_sense_is_refused(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_settings(*words)


@pytest.mark.parametrize("path", ["", "/", "/health", "/a/b?c=%20"])
def test_a_health_path_is_the_target_of_a_request(path: str) -> None:
    settings = read_settings("--health-path", path)
    assert settings.health_path == path
    assert settings.make_policy().has_health_check == bool(path)


@pytest.mark.parametrize("path", ["health", "/a b", "/a\r\nb", "http://a/", "/ä", "/#"])
def test_another_health_path_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="expected a path such as /health"):
        read_settings("--health-path", path)


def test_what_takes_code_back_is_read() -> None:
    assert not read_settings().make_policy().has_budget
    words = ["--rollback-5xx=0.05", "--rollback-latency=1.5"]
    policy = read_settings(*words, "--rollback-min-requests=20").make_policy()
    assert (policy.rollback_5xx, policy.rollback_latency) == (0.05, 1.5)
    assert policy.rollback_min_requests == 20
    with pytest.raises(UsageError, match="--rollback-5xx 5: expected a number, 0 to 1"):
        read_settings("--rollback-5xx=5")


@pytest.mark.parametrize(
    ("words", "is_fatal"), [([], False), (["--exit-on-oom"], True)]
)
def test_a_kill_for_lack_of_memory_may_be_the_end(
    words: list[str], is_fatal: bool
) -> None:
    assert read_settings(*words).make_policy().is_oom_fatal == is_fatal
