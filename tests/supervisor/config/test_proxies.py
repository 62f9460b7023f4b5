import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


def test_lists_that_are_not_given_are_the_apps_own() -> None:
    overrides = read_settings().overrides
    assert overrides.forwarded_allow_ips is None
    assert overrides.proxy_protocol_allow_ips is None


def test_lists_are_kept_as_written_also_an_empty_one() -> None:
    options = ["--forwarded-allow-ips=10.0.0.0/8, unix", "--proxy-protocol-allow-ips="]
    overrides = read_settings(*options).overrides
    assert overrides.forwarded_allow_ips == "10.0.0.0/8, unix"
    assert overrides.proxy_protocol_allow_ips == ""


@pytest.mark.parametrize(
    "option", ["--forwarded-allow-ips", "--proxy-protocol-allow-ips"]
)
@pytest.mark.parametrize(
    ("words", "reason"),
    [("localhost", "expected an address"), ("10.0.0.1/8", "has host bits set")],
)
def test_a_word_that_cannot_be_read_is_refused(
    option: str, words: str, reason: str
) -> None:
    with pytest.raises(UsageError, match=f"{option} {words}: .*{reason}"):
        read_settings(option, words)


def test_a_root_path_is_a_path_without_a_slash_at_its_end() -> None:
    assert read_settings("--root-path=/api/v1").overrides.root_path == "/api/v1"
    assert read_settings().overrides.root_path is None
    for text in ("api", "/api/", "/", "/a?b"):
        with pytest.raises(UsageError, match="expected a path such as /api"):
            read_settings("--root-path", text)
