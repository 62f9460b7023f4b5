import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.overrides.proxies import read_proxies
from tests.supervisor.typed import given


def test_lists_that_are_not_given_are_the_apps_own() -> None:
    assert set(read_proxies(given()).values()) == {None}


def test_lists_are_kept_as_written_also_an_empty_one() -> None:
    options = ["--forwarded-allow-ips=10.0.0.0/8, unix", "--proxy-protocol-allow-ips="]
    assert read_proxies(given(*options)) == {
        "forwarded_allow_ips": "10.0.0.0/8, unix",
        "proxy_protocol_allow_ips": "",
    }


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
        read_proxies(given(option, words))
